"""Timers of runs, and looks at what Redis may have lost of them: any keeper does them, each is done once."""

from __future__ import annotations

import time

from executor_worker.broker.graphs import drive
from executor_worker.broker.graphs.duties import work_off
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry import logs

EVERY_S = 0.2  # whether something is due by now: Redis is not asked for that
IDLE_S = 5.0  # between two questions while nothing is known to be due


class GraphRuns:
    """
    Asks when something is due, and every few seconds whether there is anything at all.

    Attributes:
        mended: Items that were lost and were queued again.
    """

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._due_at = 0.0
        self.mended = 0

    def run(self) -> None:
        now = time.monotonic()
        if now < self._due_at:
            return
        due = drive(self._around.link, work_off())
        self._due_at = time.monotonic() + min(IDLE_S, IDLE_S if due.next_s is None else due.next_s)
        if due.mended:
            self.mended += due.mended
            advice = "Redis had lost items of runs, or their streams were changed by others; they are queued again"
            logs.error("run.mended", items=due.mended, advice=advice)

    def heard(self, in_s: float) -> None:
        """A timer was set that is due in so many seconds."""
        self._due_at = min(self._due_at, time.monotonic() + max(in_s, 0.0))
