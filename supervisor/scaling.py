"""
Scaling of a pool: the number of slots it should have, computed from its load and the clock alone.

The keeper measures the load, `sizing` opens and closes slots by what is said here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

QUIET_S = 60.0  # a slot goes when there was nothing for it to do for so long

# Why there are as many slots as there are; for people.
FIXED, LEAST, MOST, WORK, RECENT = "", "the lower bound", "the upper bound", "work", "work in the last minute"
THROTTLED, MEMORY, ROOM = "models are throttled", "no memory for more", "no room for more"
REASONS = (FIXED, LEAST, MOST, WORK, RECENT, THROTTLED, MEMORY, ROOM)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Slots at least and at most; fixed if both are the same."""

    least: int
    most: int

    @property
    def fixed(self) -> bool:
        return self.least == self.most

    def within(self, slots: int) -> int:
        """Answer the number nearest to *slots* that is allowed."""
        return min(max(slots, self.least), self.most)

    def one_more(self, slots: int) -> Bounds:
        """Move them so that there is one slot more than *slots*."""
        return Bounds(slots + 1, max(self.most, slots + 1))

    def one_fewer(self, slots: int) -> Bounds:
        """Move them so that there is one slot fewer than *slots*."""
        return Bounds(min(self.least, slots - 1), slots - 1)

    def __str__(self) -> str:
        return str(self.least) if self.fixed else f"{self.least}-{self.most}"


@dataclass(frozen=True, slots=True)
class Load:
    """
    The pool's load.

    Attributes:
        busy: Slots that have an item in hand.
        waiting: Items that a worker could run now and none has taken; not what waits for a throttle or a limit.
        throttled: Whether models are throttled: more workers would call them no sooner.
        room: So many more workers fit into memory.
    """

    busy: int
    waiting: int
    throttled: bool = False
    room: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Decision:
    """So many slots, and why."""

    slots: int
    reason: str


class Scaling:
    """
    Decides again and again; up at once to what there is to do, down to the most that there was to do in a minute.

    So a pool does not follow the gaps between items, and what comes once a minute keeps its slots.
    """

    def __init__(self, bounds: Bounds, now: float) -> None:
        self.bounds = bounds
        self._began = now
        self._peaks: deque[tuple[float, int]] = deque()  # times and demands, falling: the first is the window's peak
        self._full_until = 0.0

    def move(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def no_room(self, now: float) -> None:
        """Note that slots could not be made: not to be tried again for a while."""
        self._full_until = now + QUIET_S

    def decide(self, slots: int, load: Load, now: float) -> Decision:
        """
        Args:
            slots: As many as there are, those that are still starting included.
        """
        bounds = self.bounds
        demand = bounds.within(load.busy + load.waiting)
        peak = self._peak(now, demand)
        if bounds.fixed:
            return Decision(bounds.least, FIXED)
        if slots != bounds.within(slots):
            return Decision(bounds.within(slots), MOST if slots > bounds.most else LEAST)
        if demand > slots:
            return self._grown(slots, demand, load, now)
        if peak < slots and now >= self._began + QUIET_S:
            return Decision(peak, LEAST if peak == bounds.least else RECENT)
        return Decision(slots, self._reason(slots, demand))

    def _grown(self, slots: int, demand: int, load: Load, now: float) -> Decision:
        if load.throttled:
            return Decision(slots, THROTTLED)
        if now < self._full_until:
            return Decision(slots, ROOM)
        grown = min(demand, slots + max(load.room, 0))
        if grown == slots:
            return Decision(slots, MEMORY)
        return Decision(grown, MOST if grown == self.bounds.most else WORK)

    def reason(self, slots: int) -> str:
        """Say why there are *slots*, before anything is known of what there is to do."""
        return FIXED if self.bounds.fixed else self._reason(slots, slots)

    def _reason(self, slots: int, demand: int) -> str:
        if slots == self.bounds.least:
            return LEAST
        if demand < slots:
            return RECENT
        return MOST if slots == self.bounds.most else WORK

    def _peak(self, now: float, demand: int) -> int:
        """Take *demand* up, and answer the highest of the last minute."""
        peaks = self._peaks
        while peaks and peaks[-1][1] <= demand:
            peaks.pop()
        peaks.append((now, demand))
        while peaks[0][0] <= now - QUIET_S:
            peaks.popleft()
        return peaks[0][1]
