"""History as the command line, `check` and the pool use it; reached by name, so that they run without psycopg."""

from __future__ import annotations

from typing import Any

from executor_worker.broker.connection.link import Link
from orchestrator.history import jobs, migrations
from orchestrator.history.database import Database
from orchestrator.history.writer import Writer


class PostgresHistory:
    """
    The history that DATABASE_URL names.

    Its methods raise HistoryUnavailable and HistoryRefused.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def migrate(self) -> list[str]:
        """Bring its tables up to date; returns the names of the migrations that were run."""
        return migrations.migrate(self._database)

    def missing(self) -> list[str]:
        """Name the migrations that were not run yet; where there are none, look whether its user may write."""
        missing = migrations.missing(self._database)
        if not missing:
            jobs.must_be_writable(self._database)
        return missing

    def prune(self, older_s: float) -> int:
        """Delete what ended so long ago; returns how many rows."""
        return jobs.prune(self._database, older_s)

    def job(self, job_id: str) -> dict[str, Any] | None:
        """Read a job's record; None if there is none."""
        return jobs.read(self._database, job_id)

    def write(self, link: Link, name: str, ttl_s: float) -> int:
        """Write all that waits in Redis; returns how many records."""
        writer = Writer(link, self._database, name, ttl_s)
        writer.drain()
        return writer.written

    def follow(self, link: Link, name: str, ttl_s: float) -> None:
        """Write what comes, for ever."""
        Writer(link, self._database, name, ttl_s).follow()

    def close(self) -> None:
        self._database.close()
