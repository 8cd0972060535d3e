"""Timers of runs, and looks at what Redis may have lost of them: any keeper does them, each is done once."""

from __future__ import annotations

import time

from executor_worker.broker.graphs import drive
from executor_worker.broker.graphs.duties import work_off
from executor_worker.broker.graphs.traces import trace_of_run
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.run_ends import run_ended, run_given_up

EVERY_S = 0.2  # whether something is due by now: Redis is not asked for that
IDLE_S = 5.0  # between two questions while nothing is known to be due
FLUSH_S = 1.0  # for spans that were not sent yet
HURRY_S = 5.0  # for so long all runs are looked at faster, once Redis may have lost something


class GraphRuns:
    """
    Asks when something is due, and every few seconds whether there is anything at all.

    Attributes:
        mended: Items that were lost and were queued again.
    """

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._recorder = Recorder(around.board.head.keeper_counters)
        self._due_at = 0.0
        self._hurries_until = 0.0
        self._redis_epoch: int | None = None
        self.mended = 0

    def run(self) -> None:
        if self._redis_epoch not in (None, self._around.board.head.redis_epoch):
            self.hurry()  # it was restarted, or another one has taken its place
        self._redis_epoch = self._around.board.head.redis_epoch
        now = time.monotonic()
        if now < self._due_at:
            return
        due = drive(self._around.link, work_off(hurry=now < self._hurries_until))
        for end in due.ends:
            run_ended(self._recorder, *end)
            if self._around.tracing.wanted and (found := drive(self._around.link, trace_of_run(end.graph_id))):
                self._around.tracing.run(found)
        for one in due.given_up:
            run_given_up(*one)
        self._due_at = time.monotonic() + min(IDLE_S, IDLE_S if due.next_s is None else due.next_s)
        if due.mended:
            self.mended += due.mended
            self._recorder.count("dago_runs_mended_total", amount=float(due.mended))
            advice = "Redis had lost items of runs, or their streams were changed by others; they are queued again"
            logs.error("run.mended", items=due.mended, advice=advice)

    def close(self) -> None:
        """Send what is left of traces."""
        self._around.tracing.close(FLUSH_S)

    def hurry(self) -> None:
        """Redis may have lost something: look at all runs at once, and ten times as fast as usual."""
        self._due_at = 0.0
        self._hurries_until = time.monotonic() + HURRY_S

    def heard(self, in_s: float) -> None:
        """A timer was set that is due in so many seconds."""
        self._due_at = min(self._due_at, time.monotonic() + max(in_s, 0.0))
