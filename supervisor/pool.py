"""The slots there are: how many, and which of them goes next when all are to be replaced."""

from __future__ import annotations

import signal
from collections.abc import Callable

from supervisor.event_log import EventLog
from supervisor.processes.processes import Child
from supervisor.program import Program
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.slots.worker_slot import WorkerSlot
from supervisor.transitions import SlotEvent, SlotState, StopReason

FORKS_AT_ONCE = 8  # then signals and the dead get their turn
# The supervisor's; a slot's: its event fd, its stacks, its worker's pidfd, which workers inherit, and as many to spare.
DESCRIPTORS, DESCRIPTORS_A_SLOT = 128, 6
UNCLAIMED_S = 30.0  # for the keeper to give back what a removed slot's worker held


class Pool:
    """
    Args:
        hire: Makes the slot of a number.
        make_room: Sees to it that so many descriptors may be open.
        least: Slots that it always has.
    """

    def __init__(
        self,
        board: Scoreboard,
        hire: Callable[[int], WorkerSlot],
        now: Callable[[], float],
        make_room: Callable[[int], None],
        log: EventLog,
        *,
        least: int = 1,
    ) -> None:
        self.board = board
        self._make_room = make_room
        self._log = log
        self._hire = hire
        self._least = least
        self._now = now
        self._by_number: dict[int, WorkerSlot] = {}
        self._vacated_at: dict[int, float] = {}

    @property
    def slots(self) -> list[WorkerSlot]:
        """All of them, by number, those on their way out included."""
        return list(self._by_number.values())

    @property
    def staying(self) -> list[WorkerSlot]:
        return [slot for slot in self._by_number.values() if not slot.removed]

    @property
    def ready(self) -> int:
        return sum(slot.ready for slot in self._by_number.values())

    @property
    def busy(self) -> int:
        """The number of staying workers that have an item in hand."""
        return sum(1 for slot in self.staying if slot.row.held)

    @property
    def all_up(self) -> bool:
        return all(slot.ready for slot in self.staying)

    @property
    def empty(self) -> bool:
        """Tell whether no worker is left."""
        return all(slot.child is None for slot in self._by_number.values())

    @property
    def rolled(self) -> bool:
        """Tell whether every worker has the settings in force, and is up if it can be waited for."""
        return not any(slot.old or slot.awaited for slot in self.staying)

    def of(self, child: Child) -> WorkerSlot | None:
        return next((slot for slot in self._by_number.values() if slot.child == child), None)

    def resize(self, wanted: int) -> None:
        """Have *wanted* slots: the last ones go when their workers have finished, new ones are filled."""
        wanted = min(max(wanted, self._least), self.board.capacity)
        for slot in self.staying[wanted:]:
            slot.dismiss(StopReason.REMOVED)
        self._vacate()
        try:
            self._grow(wanted)
        except OSError as error:
            self._log("error", "pool.no_room", workers=len(self.staying), wanted=wanted, error=str(error))
        self.board.head.configured = len(self.staying)

    def observe(self) -> None:
        for slot in self.slots:
            slot.observe()
        self._vacate()

    def refill(self) -> None:
        """Fork workers for the slots whose time has come, a few of them."""
        forked = 0
        for slot in self._by_number.values():
            forked += slot.refill()
            if forked == FORKS_AT_ONCE:
                return

    def roll(self) -> None:
        """Ask the next worker that is to be replaced to leave, if all others are ready: an idle one first."""
        slots = self.staying
        if any(slot.awaited for slot in slots):
            return
        due = [slot for slot in slots if slot.ready and (slot.old or slot.worn)]
        due.sort(key=lambda slot: slot.row.activity == "busy")
        if due:
            due[0].dismiss(StopReason.RELOADED if due[0].old else StopReason.WORN)

    def renew(self, program: Program) -> None:
        """Have every worker from now on run *program*; slots that were backing off try it at once."""
        for slot in self.slots:
            slot.program = program
            if slot.child is None and not slot.removed:
                slot.backoff.forgive()
                slot.fill()

    def signal(self, number: signal.Signals) -> None:
        for slot in self._by_number.values():
            slot.signal(number)

    def wake(self) -> None:
        for slot in self._by_number.values():
            slot.row.wake()

    def next_look(self) -> float | None:
        return min((at for slot in self._by_number.values() if (at := slot.next_look()) is not None), default=None)

    def summary(self) -> str:
        states = [slot.state for slot in self._by_number.values()]
        busy, leaving = states.count(SlotState.BUSY), states.count(SlotState.DRAINING)
        told = f", {leaving} leaving" if leaving else ""
        return f"{self.ready} of {self.board.head.configured} workers ready, {busy} busy{told}"

    def _grow(self, wanted: int) -> None:
        self._make_room(DESCRIPTORS + DESCRIPTORS_A_SLOT * wanted)
        leaving = [slot for slot in self.slots if slot.removed]
        while len(self.staying) < wanted:
            if leaving:
                leaving.pop(0).feed(SlotEvent.RECALLED)
            else:
                self._add()

    def _add(self) -> None:
        first = self.board.head.first_slot
        number = next(n for n in range(first, first + self.board.capacity) if n not in self._by_number)
        self.board.place(number)
        slot = self._by_number[number] = self._hire(number)
        self._by_number = dict(sorted(self._by_number.items()))
        slot.fill()

    def _vacate(self) -> None:
        for number, slot in list(self._by_number.items()):
            if not slot.vacated:
                self._vacated_at.pop(number, None)
            elif slot.settled or self._now() > self._vacated_at.setdefault(number, self._now()) + UNCLAIMED_S:
                self.board.remove(number)
                del self._by_number[number]
                self._vacated_at.pop(number, None)
