"""Reports: the scoreboard as fields, and workers' stacks, for the log or for who has asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from supervisor.processes.processes import DUMP_STACKS
from supervisor.processes.stacks import is_whole
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.scoreboard.view import log_view
from supervisor.slots.worker_slot import WorkerSlot

LOOK_S = 0.01
STOPPED_S = 0.5  # for a child to write its stacks, which takes milliseconds, where it is stopped
LONGEST_S = 3.0  # where it is not: it waits for a core, or for the disk that its code is on
NONE_WRITTEN = "it has written none: it is stopped, or waits for a device (process state {state})"

Report = dict[str, object]
"""A worker's labels, `pid`, `phase`, `item`, and its `stack`."""


@dataclass(frozen=True, slots=True)
class _Asked:
    slots: Sequence[WorkerSlot]
    then: Callable[[list[Report]], None]
    at: float


class StackDump:
    """Has workers write their stacks, and hands them on when they are there."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._asked: _Asked | None = None
        self._waiting: list[tuple[Sequence[WorkerSlot], Callable[[list[Report]], None]]] = []

    def begin(self, slots: Sequence[WorkerSlot], then: Callable[[list[Report]], None]) -> None:
        """Ask *slots*' workers; *then* is called once, with what they have written, soon."""
        self._waiting.append((slots, then))
        self.advance()

    def advance(self) -> None:
        asked = self._asked
        if asked is not None and _is_over(asked, self._now() - asked.at):
            self._asked = None
            asked.then([_report(slot) for slot in asked.slots])
        if self._asked is None and self._waiting:
            slots, then = self._waiting.pop(0)
            asked_now = [slot for slot in slots if slot.child is not None and slot.kill_at is None]
            for slot in asked_now:
                slot.stacks.clear()
                slot.signal(DUMP_STACKS)
            self._asked = _Asked(asked_now, then, self._now())

    def next_look(self) -> float | None:
        return None if self._asked is None else self._now() + LOOK_S


def _is_over(asked: _Asked, waited_s: float) -> bool:
    silent = [slot for slot in asked.slots if not _has_written(slot)]
    return waited_s >= LONGEST_S or (waited_s >= STOPPED_S and all(map(_is_stopped, silent))) or not silent


def _is_stopped(slot: WorkerSlot) -> bool:
    return slot.child is None or slot.child.look() == "T"


def _has_written(slot: WorkerSlot) -> bool:
    return slot.child is None or is_whole(slot.stacks.read())


def _report(slot: WorkerSlot) -> Report:
    row, state = slot.row, slot.child.look() if slot.child is not None else "X"
    stack = slot.stacks.read() or NONE_WRITTEN.format(state=state)
    return {**slot.label(), "pid": slot.pid, "phase": row.phase, "item": row.item, "stack": stack}


def rows_report(board: Scoreboard) -> list[dict[str, object]]:
    """One entry for each slot there is."""
    now_ns = time.monotonic_ns()
    return [log_view(row, now_ns) for row in board.rows()]
