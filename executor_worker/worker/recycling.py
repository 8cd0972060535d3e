"""Recycling of a worker: it asks to be replaced between two items, or can't take another one at all."""

from __future__ import annotations

import os
import resource
import select
import sys
from dataclasses import dataclass

from supervisor.scoreboard.scoreboard import Row, Scoreboard

DESCRIPTORS_IN_USE = 0.75  # of those allowed: a worker beyond it is replaced
PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Limits:
    """0 = never."""

    items: int = 0
    rss_bytes: int = 0


class Recycling:
    """
    Looks at one worker, and asks for its replacement.

    Attributes:
        allowed: Descriptors, when it last looked; if there are others now, ask `spent`.
        watch: Looks at a descriptor that is in use only if few are left.
        unused: What it answers as long as it is not; if it is another thing, ask `spent`.
        weighed_after: Items after which `weigh` is to be asked, and after each one more.
    """

    def __init__(self, board: Scoreboard, row: Row, limits: Limits) -> None:
        self.allowed = 0
        self.watch, self.unused = select.poll(), list[tuple[int, int]]()
        self.weighed_after = 1 if limits.rss_bytes else limits.items or sys.maxsize
        self._board = board
        self._row = row
        self._limits = limits
        self._open_at_first: int | None = None  # descriptors, when it first looked

    def spent(self) -> bool:
        """Tell whether nothing more can be taken; alone there is no supervisor that would replace us."""
        spent = self._descriptors_run_out() and self._board.head.supervisor_pid != os.getpid()
        if spent:
            self._ask()
        return spent

    def weigh(self, items: int) -> None:
        """Ask for a replacement if *items*, or what they have left in memory, were enough."""
        limits = self._limits
        worn = limits.items and items >= limits.items
        if worn or (limits.rss_bytes and _rss_bytes() > limits.rss_bytes):
            self._ask()

    def _ask(self) -> None:
        if not self._row.wants_replacement:
            self._row.wants_replacement = True
            self._board.event_fd.ring()

    def _descriptors_run_out(self) -> bool:
        """
        Tell whether tools have left open most of what this process may: numbers are given out from the lowest.

        Of what was open before its first item, which a successor would have as well, no worker is relieved.
        """
        self.allowed = allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.watch, self.unused = select.poll(), []
        if allowed == resource.RLIM_INFINITY:
            return False
        if self._open_at_first is None:
            self._open_at_first = _open_now()
        last = max(int(DESCRIPTORS_IN_USE * allowed), (self._open_at_first + allowed) // 2)
        self.watch.register(last, 0)
        self.unused = [(last, select.POLLNVAL)]
        return self.watch.poll(0) != self.unused


def _rss_bytes() -> int:
    """Read what this process has in memory; 0 if it has no descriptor left to look with, which is found out as well."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(fd, 128).split()[1]) * PAGE_BYTES
    finally:
        os.close(fd)


def _open_now() -> int:
    """Count by the lowest number that is free."""
    try:
        lowest = os.dup(0)
    except OSError:  # none is left, and nothing can be said of a leak
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.close(lowest)
    return lowest
