"""Demand for the supervisor that scales the pool: how much there is to do; warns when that is too much for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from executor_worker.broker.queue.backlog import Backlog
from executor_worker.telemetry import logs
from supervisor.scoreboard.scoreboard import Scoreboard

DEMAND_S = 0.5
SATURATED_S = 60.0
MIB = 2**20
LEAST_WORKER_BYTES = 20 * MIB  # what a worker that was not measured yet is taken to need
RESERVE = 0.1  # of the memory that is free: kept free
CGROUP = Path("/sys/fs/cgroup")
MEMORY_EVERY_S = 5.0


class Demand:
    """
    Says on the scoreboard how much there is to do while no worker is free, and how many more workers fit into memory.

    Args:
        measure: Looks now how much there is to do.
        known: Says what was seen when it was looked last.
        free_bytes: Says how much memory is free.
    """

    def __init__(
        self,
        board: Scoreboard,
        measure: Callable[[], Sequence[Backlog]],
        known: Callable[[], Sequence[Backlog]],
        free_bytes: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._measure, self._known = measure, known
        self._free_bytes = free_bytes or free_memory
        self._clock = clock
        self._full_since: float | None = None
        self._next_look = self._next_warning = 0.0

    def run(self) -> None:
        """Look, if all workers are busy: what waits while one is free it takes at once."""
        head = self._board.head
        rows = self._board.rows()
        full = bool(rows) and all(row.held for row in rows if row.state != "draining") and not head.paused
        busy = sum(1 for row in rows if row.held)
        backlogs = self._look() if full else ()
        waiting = sum(one.waiting for one in backlogs)
        demand = busy + waiting if waiting else 0
        if head.demand != demand:
            head.demand = demand
            self._board.event_fd.ring()
        if head.least != head.most:
            self._measure_room()
        self._warn(waiting, backlogs)

    def _look(self) -> Sequence[Backlog]:
        """Look now if the pool may grow; else what was seen a moment ago is good enough."""
        return self._known() if self._board.head.least == self._board.head.most else self._measure()

    def _measure_room(self) -> None:
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + MEMORY_EVERY_S
            weights = [row.pss_bytes for row in self._board.rows() if row.pss_bytes]
            each = max([LEAST_WORKER_BYTES, *weights])
            self._board.head.room = int(self._free_bytes() * (1 - RESERVE) / each)

    def _warn(self, waiting: int, backlogs: Sequence[Backlog]) -> None:
        now = self._clock()
        if not waiting:
            self._full_since = None
            return
        if self._full_since is None:
            self._full_since = now
            self._next_warning = now + SATURATED_S
        if now >= self._next_warning:
            self._next_warning = now + SATURATED_S
            workers = self._board.head.configured
            oldest_s = round(max(one.oldest_age_s for one in backlogs), 1)
            logs.warning("pool.saturated", workers=workers, waiting=waiting, oldest_s=oldest_s, fix=self._fix(workers))

    def _fix(self, workers: int) -> str:
        head = self._board.head
        if head.least != head.most and workers < head.most:
            return f"it does not grow: {head.scaled}"
        return "raise WORKERS (its upper bound) and reload, `executor-worker ctl scale N`, or start another pool"


def free_memory() -> int:
    """Answer how many bytes are free on this machine, or within the limit of this process' cgroup."""
    free = int(psutil.virtual_memory().available)
    try:
        group = CGROUP / Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        # What files are cached in can be had at once.
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        reclaimable = int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return free
    return free if limit == "max" else max(min(free, int(limit) - used + reclaimable), 0)
