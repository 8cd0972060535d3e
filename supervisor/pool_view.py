"""The pool as people see it: in a line, as rows, and by its processes' stacks."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.control.report import Report, StackDump, rows_report
from supervisor.event_log import EventLog
from supervisor.pool_slots import PoolSlots
from supervisor.processes.stacks import in_one_line
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.transitions import Mode


class PoolView:
    """Shows *slots* and their *board*; changes nothing."""

    def __init__(self, slots: PoolSlots, board: Scoreboard, log: EventLog, now: Callable[[], float]) -> None:
        self._slots = slots
        self._board = board
        self._log = log
        self._dump = StackDump(now)
        self.advance, self.next_look = self._dump.advance, self._dump.next_look

    def summary(self) -> str:
        services = self._slots.services
        serving = f", {services.ready} serving" if services.slots else ""
        return f"{self._slots.workers.summary()}{serving}{', paused' if self._board.head.paused else ''}"

    def rows(self) -> list[dict[str, object]]:
        return rows_report(self._board)

    def log(self, mode: Mode) -> None:
        """Log how the pool is, each slot, and where each process stands."""
        self._log("info", "pool.status", mode=mode, summary=self.summary())
        for fields in self.rows():
            self._log("info", "slot.status", **fields)
        self._dump.begin(self._slots.all, self._log_stacks)

    def _log_stacks(self, reports: list[Report]) -> None:
        for report in reports:
            fields = {**report, "stack": in_one_line(str(report["stack"]))}
            self._log("info", "service.stack" if "service" in report else "slot.stack", **fields)

    def stacks(self, number: int | None, then: Callable[[list[Report]], None]) -> bool:
        """Have *then* called with the stacks of slot *number*'s worker, or of all; False if there is no such worker."""
        slots = [slot for slot in self._slots.all if slot.child is not None]
        if number is not None:
            slots = [slot for slot in self._slots.workers.slots if slot.row.slot == number and slot.child is not None]
            if not slots:
                return False
        self._dump.begin(slots, then)
        return True
