"""Sweep of strays after a child's death: kill what it has left, until nothing is left."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.processes.processes import Processes

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
GIVE_UP_S = 10.0  # on what can't be killed: it waits for a device, or is another user's


class Sweep:
    """Only ever begun by a death: what is orphaned to us otherwise, as PID 1, is reaped and not killed."""

    def __init__(self, processes: Processes, now: Callable[[], float]) -> None:
        self._processes = processes
        self._now = now
        self._due_at: float | None = None
        self._began_at = 0.0
        self._pause_s = FIRST_PAUSE_S

    def begin(self) -> None:
        self._due_at = self._began_at = self._now()
        self._pause_s = FIRST_PAUSE_S

    def advance(self) -> None:
        now = self._now()
        if self._due_at is None or now < self._due_at:
            return
        if self._processes.kill_strays() == 0 or now > self._began_at + GIVE_UP_S:
            self._due_at = None
            return
        self._due_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def next_look(self) -> float | None:
        return self._due_at
