"""CPU time of the pool's processes by role, for `/metrics`: read when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import psutil

from supervisor.scoreboard.scoreboard import Scoreboard

METRIC = "dago_cpu_seconds_total"

Processes = Iterable[tuple[str, int]]
"""Roles and pids."""


class CpuTimes:
    """
    Adds up what was used; a process that has ended counts on with what it was last seen to have used.

    Args:
        processes: Those that there are now.
    """

    def __init__(self, processes: Callable[[], Processes], used: Callable[[int], float | None] | None = None) -> None:
        self._processes = processes
        self._used = used or _used_s
        self._last: dict[tuple[str, int], float] = {}
        self._ended: dict[str, float] = {}

    def totals(self) -> dict[tuple[str, ...], float]:
        """Return seconds by metric and role."""
        now = {process: self._used(process[1]) for process in self._processes()}
        for process, before in self._last.items():
            used = now.get(process)
            if used is None or used < before:  # it has ended; another one may have its pid
                self._ended[process[0]] = self._ended.get(process[0], 0.0) + before
        self._last = {process: used for process, used in now.items() if used is not None}
        sums = dict(self._ended)
        for (role, _), used in self._last.items():
            sums[role] = sums.get(role, 0.0) + used
        return {(METRIC, role): used for role, used in sums.items()}


def processes_of(workers: Scoreboard, services: Scoreboard | None, parent: int) -> Iterator[tuple[str, int]]:
    """List the pool's processes; the keeper calls it, whose *parent* is the supervisor, or the only worker."""
    working = {row.pid for row in workers.rows() if row.pid}
    if parent not in working:
        yield "supervisor", parent
    yield "keeper", os.getpid()
    yield from (("worker", pid) for pid in sorted(working))
    if services is not None:
        yield from (("api", row.pid) for row in services.rows() if row.pid)


def _used_s(pid: int) -> float | None:
    """User and system time of all its threads; None: it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.Error, OSError):
        return None
    return float(times.user + times.system)
