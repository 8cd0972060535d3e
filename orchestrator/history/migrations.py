"""Numbered migrations: files of SQL, each run once, in order, in a transaction of its own."""

from __future__ import annotations

from importlib.resources import files

from orchestrator.history.database import Connection, Database

TABLE = "dago_migrations"
_LOCK = 0x6461676F  # any number: two who migrate at once wait for each other
_PRESENT = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)"""


def migrate(database: Database) -> list[str]:
    """
    Bring the database up to date.

    Returns:
        The names of those that were run now.

    Raises:
        HistoryUnavailable, HistoryRefused: See `Database`.
    """
    done = []
    for number, name, text in _all():
        with database.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            if number in _applied(connection):
                continue
            connection.execute(_PRESENT)
            connection.execute(text.encode())
            connection.execute(f"INSERT INTO {TABLE} (number, name) VALUES (%s, %s)", (number, name))
            done.append(name)
    return done


def missing(database: Database) -> list[str]:
    """
    Name the migrations that were not run yet.

    Raises:
        HistoryUnavailable, HistoryRefused: See `Database`.
    """
    with database.transaction() as connection:
        applied = _applied(connection)
    return [name for number, name, _ in _all() if number not in applied]


def _applied(connection: Connection) -> set[int]:
    there = connection.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone()
    if there is None or there[0] is None:
        return set()
    return {number for (number,) in connection.execute(f"SELECT number FROM {TABLE}")}


def _all() -> list[tuple[int, str, str]]:
    """Number, name and text of each, in order."""
    folder = files("orchestrator.history") / "sql"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name[:4]), name.removesuffix(".sql"), (folder / name).read_text("utf-8")) for name in names]
