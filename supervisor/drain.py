"""The way out, in this order: workers and services, keeper, whatever they have left behind, companions."""

from __future__ import annotations

import signal
from collections.abc import Callable

from supervisor.pool_slots import PoolSlots
from supervisor.processes.processes import Processes
from supervisor.program import PoolSettings
from supervisor.transitions import SlotEvent, StopReason

STRAYS_S = 3.0  # for what can't be killed at once: it waits for a device
COMPANION_S = 3.0  # for a companion to end by itself
SOON_S = 0.02


class Drain:
    """
    One drain from its beginning to its end; `advance` it again and again until it is `done`.

    The keeper goes after the last worker, because it keeps their leases and gives back what the dead ones held.

    Args:
        services_left: Told once, when the last service has left.
    """

    def __init__(
        self,
        slots: PoolSlots,
        processes: Processes,
        settings: PoolSettings,
        now: Callable[[], float],
        services_left: Callable[[], None],
    ) -> None:
        self.slots = slots
        self.keeper = slots.keeper
        self.processes = processes
        self.settings = settings
        self.now = now
        self._services_left: Callable[[], None] | None = services_left  # None: it was told
        self.killed = False  # a worker had to be killed
        self.began_at = now()
        self.deadline = self.began_at + settings.drain_timeout_s
        self._stages = [self._workers, self._keeper, self._strays, self._companions, self._last_strays]
        self._keeper_dismissed = False
        self._stage_at: float | None = None  # when the present stage began; None: it has yet to

    @property
    def done(self) -> bool:
        return not self._stages

    @property
    def keeper_needed(self) -> bool:
        """Tell whether the keeper must still renew leases, or give back what dead workers held."""
        return len(self._stages) == 5 or (len(self._stages) == 4 and not self._keeper_dismissed)

    def begin(self) -> None:
        for slot in self.slots.all:
            slot.dismiss(StopReason.DRAINED)

    def hurry(self) -> None:
        self.deadline = min(self.deadline, self.now() + self.settings.hurry_timeout_s)
        for slot in self.slots.all:
            slot.feed(SlotEvent.HURRIED)

    def advance(self) -> None:
        """Go as far as is possible now."""
        while self._stages:
            entered = self._stage_at is None
            if self._stage_at is None:
                self._stage_at = self.now()
            if not self._stages[0](entered, self.now() - self._stage_at):
                return
            self._stages.pop(0)
            self._stage_at = None

    def next_look(self) -> float:
        return self.deadline if len(self._stages) == 5 else self.now() + SOON_S

    def _workers(self, entered: bool, seconds: float) -> bool:
        if self._services_left is not None and all(slot.child is None for slot in self.slots.services.slots):
            self._services_left()
            self._services_left = None
        gone = all(slot.child is None for slot in self.slots.all)
        if not gone and self.now() >= self.deadline and not self.killed:
            self.killed = True
            for slot in self.slots.all:
                if slot.child is not None:
                    slot.cut_short()
        return gone

    def _keeper(self, entered: bool, seconds: float) -> bool:
        owing = seconds < self.settings.keeper_close_s and not all(slot.settled for slot in self.slots.workers.slots)
        if self._keeper_dismissed:
            # One that was killed before it could give back is replaced by one that does.
            self._keeper_dismissed = self.keeper.child is not None or not (owing and self.keeper.failed)
            return self._keeper_dismissed and self.keeper.child is None
        if not owing or self.keeper.ready:
            self._keeper_dismissed = True
            self.keeper.dismiss(StopReason.DRAINED)
        elif self.keeper.child is None:
            self.keeper.fill()
        return self._keeper_dismissed and self.keeper.child is None

    def _strays(self, entered: bool, seconds: float) -> bool:
        return self.processes.kill_strays() == 0 or seconds > STRAYS_S

    def _companions(self, entered: bool, seconds: float) -> bool:
        if entered:
            self.processes.signal_companions(signal.SIGTERM)
        elif seconds > COMPANION_S:
            self.processes.signal_companions(signal.SIGKILL)
        return not self.processes.companions or seconds > COMPANION_S + STRAYS_S

    def _last_strays(self, entered: bool, seconds: float) -> bool:
        return self._strays(entered, seconds)
