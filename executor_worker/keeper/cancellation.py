"""Cancellation: stop runs whose graph was cancelled."""

from __future__ import annotations

import time

from executor_worker.broker.fleet.cancelled import is_stopping, maybe_cancelled
from executor_worker.broker.names import CANCELLED_JOB_PREFIX, STATE_PREFIX
from executor_worker.graph.state import GraphState, is_cancelled
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry import logs
from supervisor.scoreboard.scoreboard import Row

DOCUMENTS = (STATE_PREFIX, CANCELLED_JOB_PREFIX)
SETTLED_SOON_S = 0.25  # what is younger may be done before we have asked


class Cancel:
    """
    Tells workers to end what they run for a graph that was cancelled.

    Only the runs that last are looked after, so that a pool with nothing to do, or with short items only, asks nothing.
    """

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._seen: dict[str, bytes] = {}  # digests of documents that were not cancelled though the word is in them

    def run(self) -> None:
        runs = self._lasting()
        self._press_on(runs)
        self._heed_heads([one for one in runs if not one[2].startswith(DOCUMENTS)])
        runs = [one for one in runs if one[2].startswith(DOCUMENTS)]
        keys = {key for _, _, key in runs}
        self._seen = {key: digest for key, digest in self._seen.items() if key in keys}
        found = maybe_cancelled(self._around.link, {key: self._seen.get(key, b"") for key in keys}) if keys else {}
        for key, document in found.items():
            self._heed(document, key, [(row, run) for row, run, watched in runs if watched == key])

    def _lasting(self) -> list[tuple[Row, int, str]]:
        """The runs to be looked after, each with the key of its graph's document."""
        late = time.monotonic_ns() - int(SETTLED_SOON_S * 1e9)
        runs = []
        for row in self._around.board.rows():
            run, key = row.run, row.watched
            if 0 < run < late and key and row.run == run:
                runs.append((row, run, key))
        return runs

    def _heed(self, document: bytes | None, key: str, runs: list[tuple[Row, int]]) -> None:
        if document is None:
            for row, run in runs:
                row.unwatched_run = run
        elif is_cancelled(document):
            for row, run in runs:
                self._stop(row, run)
        else:
            self._seen[key] = GraphState.digest(document)

    def _heed_heads(self, runs: list[tuple[Row, int, str]]) -> None:
        """Look at the heads of runs of ours."""
        for row, run, key in runs:
            if is_stopping(self._around.link, key):
                self._stop(row, run)

    def _stop(self, row: Row, run: int) -> None:
        if row.stop_run == run:
            return
        row.stop_run = run
        self._around.board.event_fd.ring()
        if row.run == run:
            logs.info("run.cancelled", slot=row.slot, item=row.item, reason="its graph was cancelled")

    def _press_on(self, runs: list[tuple[Row, int, str]]) -> None:
        """Interrupt what has not ended by itself since; in a pool the supervisor does."""
        if self._around.interrupt is not None and any(row.run_is_over for row, _, _ in runs):
            self._around.interrupt()
