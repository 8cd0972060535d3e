"""The writer of the history: brings records from Redis into PostgreSQL, at least once, until there are none left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from executor_worker.broker.connection.link import Link
from executor_worker.broker.roles.unwritten import Unwritten, note_written, put_last, unwritten
from executor_worker.errors import HistoryError, HistoryRefused, StreamError
from executor_worker.telemetry import logs
from orchestrator.history import jobs
from orchestrator.history.database import Database

HOLD_S = 10.0  # without a sign for so long another pool writes
LOOK_S = 1.0
NOT_OURS_S = 2.0
AGAIN_S, LONGEST_AGAIN_S = 0.5, 5.0


class Writer:
    """
    Args:
        name: Of the pool; one pool writes at a time.
        ttl_s: How long Redis keeps a record that is written.
    """

    def __init__(self, link: Link, database: Database, name: str, ttl_s: float) -> None:
        self._link = link
        self._database = database
        self._name = name
        self._ttl_s = ttl_s
        self._fault = ""
        self._again_s = AGAIN_S
        self._refused: set[bytes] = set()
        self.written = 0

    def follow(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Write what comes, for ever."""
        while True:
            sleep(self.turn())

    def turn(self) -> float:
        """
        Write one batch; whatever goes wrong is said once, and tried again.

        Returns:
            The seconds until the next.
        """
        try:
            batch = unwritten(self._link, self._name, hold_s=HOLD_S + LONGEST_AGAIN_S)
            if batch is None:
                return NOT_OURS_S
            wrote = self._write(batch)
        except StreamError as error:
            logs.debug("redis.unavailable", reason=str(error))
            return LOOK_S
        except HistoryError as error:
            return self._failed(error)
        self._recovered()
        return 0.0 if wrote else LOOK_S

    def drain(self) -> None:
        """
        Write all there is now.

        Raises:
            HistoryUnavailable, HistoryRefused, StreamError: Not all of it is written.
        """
        while batch := unwritten(self._link, self._name, hold_s=HOLD_S):
            if not self._write(batch):
                raise HistoryRefused(f"it does not take {len(batch)} records; the log says which")

    def _write(self, batch: Sequence[Unwritten]) -> int:
        """Write all that the database takes; returns how many."""
        if not batch:
            return 0
        try:
            jobs.write(self._database, [one.record for one in sorted(batch, key=lambda one: one.key)])
        except HistoryRefused as error:
            if not error.data:
                raise
            return self._write_each(batch)
        return self._done(batch)

    def _write_each(self, batch: Sequence[Unwritten]) -> int:
        """Leave aside what the database can't take; it stays in Redis."""
        done, refused = [], []
        for one in batch:
            try:
                jobs.write(self._database, [one.record])
                done.append(one)
            except HistoryRefused as error:
                if not error.data:
                    raise
                self._leave_aside(one, error)
                refused.append(one)
        put_last(self._link, refused, now=time.time())
        return self._done(done)

    def _leave_aside(self, one: Unwritten, error: HistoryRefused) -> None:
        if one.key not in self._refused:
            self._refused.add(one.key)
            record = one.key.decode("utf-8", "replace")
            logs.error(
                "history.refused", record=record, reason=str(error), advice="it stays in Redis; see docs/ROLES.md"
            )

    def _done(self, batch: Sequence[Unwritten]) -> int:
        if batch:
            note_written(self._link, batch, ttl_s=self._ttl_s)
        self.written += len(batch)
        return len(batch)

    def _failed(self, error: HistoryError) -> float:
        advice = f"{error.fix}; Redis keeps what is to be written"
        if advice != self._fault:  # told once, unless something else is wrong now
            logs.error("history.unwritten", reason=str(error), advice=advice)
        self._fault = advice
        pause, self._again_s = self._again_s, min(self._again_s * 2, LONGEST_AGAIN_S)
        return pause

    def _recovered(self) -> None:
        if self._fault:
            logs.info("history.back")
        self._fault, self._again_s = "", AGAIN_S
