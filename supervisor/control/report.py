"""Reports for the log: the scoreboard as fields, and every worker's stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from supervisor.processes.processes import DUMP_STACKS
from supervisor.program import Journal
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.scoreboard.view import log_view
from supervisor.slots.worker_slot import WorkerSlot

DUMP_APART_S = 0.02  # between two workers' stacks


class StackDump:
    """
    Has one worker after the other write its stack: what they write in many small pieces must not mix.

    Before each the log says whose it is.
    """

    def __init__(self, now: Callable[[], float], log: Journal) -> None:
        self._now = now
        self._log = log
        self._left: list[WorkerSlot] = []
        self._next = 0.0

    def begin(self, slots: Sequence[WorkerSlot]) -> None:
        self._left, self._next = list(slots), self._now()

    def advance(self) -> None:
        if self._left and self._now() >= self._next:
            slot = self._left.pop(0)
            if slot.child is not None:
                row = slot.row
                self._log("info", "slot.stack", **slot.label(), pid=slot.pid, phase=row.phase, item=row.item)
                slot.signal(DUMP_STACKS)
            self._next = self._now() + DUMP_APART_S

    def next_look(self) -> float | None:
        return self._next if self._left else None


def rows_report(board: Scoreboard) -> list[dict[str, object]]:
    """One entry for each slot there is."""
    now_ns = time.monotonic_ns()
    return [log_view(row, now_ns) for row in board.rows()]
