"""The table `jobs`: records of roles' jobs as rows, and rows as records."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import HistoryRefused, HistoryUnavailable
from executor_worker.json_text import dumps, loads
from orchestrator.history.database import GRANT, NAME_PRIMARY, Database

Record = dict[str, Any]

NAMES = (
    *("jobId", "role", "entry_id", "status", "output", "error", "error_code", "usage", "task", "workflowId"),
    *("userId", "projectId", "worker_id", "attempt", "created_at", "started_at", "completed_at", "fields"),
)
"""Of a record, in its order; a column each."""
_JSON = ("output", "usage", "fields")
_TIMES = ("created_at", "started_at", "completed_at")
_UNSTORABLE = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
LONGEST_ID = 2000
"""Bytes of a job's id that its index has room for; a longer one is named by its SHA-1 there."""
PRUNED_AT_ONCE = 5000


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


COLUMNS = tuple(map(_snake, NAMES))


def _age(row: str) -> str:
    """Order of a job's states: by the entry, by whether it has ended, by the run."""
    entry = f"split_part({row}.entry_id, '-', 1)::numeric, split_part({row}.entry_id, '-', 2)::numeric"
    ended = f"({row}.status IN ('completed', 'failed'))::int"
    return f"({entry}, {ended}, {row}.attempt, coalesce({row}.started_at, '-infinity'))"


# A writer that was held up may bring what another has long overtaken.
_UPSERT = f"""
INSERT INTO jobs ({", ".join(COLUMNS)}) VALUES ({", ".join(["%s"] * len(COLUMNS))})
ON CONFLICT (job_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])}
WHERE {_age("jobs")} <= {_age("excluded")}
"""
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM jobs WHERE job_id = %s"
_PRUNE = """
DELETE FROM jobs WHERE job_id IN
    (SELECT job_id FROM jobs WHERE completed_at < now() - make_interval(secs => %s) LIMIT %s)
"""


_WRITABLE = """
SELECT current_setting('transaction_read_only') = 'on', bool_and(has_table_privilege('jobs', it))
FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS it
"""


def must_be_writable(database: Database) -> None:
    """
    Look whether its user may write there, without writing.

    Raises:
        HistoryUnavailable, HistoryRefused: It may not, or see `Database`.
    """
    with database.transaction() as connection:
        read_only, permitted = connection.execute(_WRITABLE).fetchone() or (False, False)
    if read_only:
        raise HistoryUnavailable("the database takes no writes", fix=NAME_PRIMARY)
    if not permitted:
        raise HistoryRefused("its user may not write into the table jobs", fix=GRANT)


def write(database: Database, records: Sequence[bytes]) -> None:
    """
    Write all *records* or none; those that are there in a later state stay as they are.

    Raises:
        HistoryUnavailable, HistoryRefused: See `Database`.
    """
    rows = [_row(raw) for raw in records]
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)


def read(database: Database, job_id: str) -> Record | None:
    """
    Read a job's record; None if there is none.

    Raises:
        HistoryUnavailable, HistoryRefused: See `Database`.
    """
    with database.transaction() as connection:
        row = connection.execute(_SELECT, (_key(_storable(job_id)),)).fetchone()
    if row is None:
        return None
    return {name: _told(value) for name, value in zip(NAMES, row, strict=True)} | {"jobId": job_id}


def prune(database: Database, older_s: float) -> int:
    """
    Delete jobs that have ended so long ago; what has not ended stays.

    Returns:
        How many.

    Raises:
        HistoryUnavailable, HistoryRefused: See `Database`.
    """
    gone = 0
    while True:
        with database.transaction() as connection:
            deleted = connection.execute(_PRUNE, (older_s, PRUNED_AT_ONCE)).rowcount
        gone += deleted
        if deleted < PRUNED_AT_ONCE:
            return gone


def _row(raw: bytes) -> list[Any]:
    """
    Raises:
        HistoryRefused: It is no record.
    """
    try:
        record = loads(raw)
        if _UNSTORABLE.search(raw):
            record = _storable(record)
        return [_key(record["jobId"]), *(_value(name, record[name]) for name in NAMES[1:])]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HistoryRefused(f"what is kept of it is no record ({type(error).__name__})", data=True) from None


def _key(job_id: str) -> str:
    written = job_id.encode()
    return job_id if len(written) <= LONGEST_ID else hashlib.sha1(written, usedforsecurity=False).hexdigest()


def _value(name: str, value: Any) -> Any:
    if name in _JSON:
        return None if value is None else Jsonb(value, dumps=_json)
    return datetime.fromisoformat(value) if name in _TIMES and value is not None else value


def _json(value: Any) -> bytes:
    return dumps(value)


def _storable(value: Any) -> Any:
    """Write U+FFFD for characters that PostgreSQL has no room for: NUL, and halves of pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list) else value


def _told(value: Any) -> Any:
    return rfc3339(value.timestamp()) if isinstance(value, datetime) else value
