"""Recycling of a worker: it asks to be replaced between two items, or can't take another one at all."""

from __future__ import annotations

import fcntl
import os
import resource
import time
from dataclasses import dataclass

from supervisor.scoreboard.scoreboard import Row, Scoreboard

DESCRIPTORS_IN_USE = 0.75  # of those allowed: a worker beyond it is replaced
LOOK_AGAIN_S = 0.01  # with no item done since: what a tool's threads left open
PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Limits:
    """0 = never."""

    items: int = 0
    rss_bytes: int = 0


class Recycling:
    """Looks at one worker, and asks for its replacement."""

    def __init__(self, board: Scoreboard, row: Row, limits: Limits) -> None:
        self._board = board
        self._row = row
        self._limits = limits
        self._items = 0
        self._look_at = 0.0
        self._open_at_first: int | None = None  # descriptors, when it first looked

    def spent(self) -> bool:
        """Tell whether nothing more can be taken; alone there is no supervisor that would replace us."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_AGAIN_S
        spent = self._descriptors_run_out() and self._board.head.supervisor_pid != os.getpid()
        if spent:
            self._look_at = now  # it stays so
            self._ask()
        return spent

    def item_done(self) -> None:
        """Count an item, and ask for a replacement if that was enough."""
        self._items += 1
        self._look_at = 0.0  # quick items leave a hundred descriptors in a millisecond
        limits = self._limits
        worn = limits.items and self._items >= limits.items
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
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if allowed == resource.RLIM_INFINITY:
            return False
        if self._open_at_first is None:
            self._open_at_first = _open_now()
        return _is_open(max(int(DESCRIPTORS_IN_USE * allowed), (self._open_at_first + allowed) // 2))


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


def _is_open(number: int) -> bool:
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return False
    return True
