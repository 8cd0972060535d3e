"""Wakeups between the pool's processes: an event fd for each slot."""

from __future__ import annotations

import os

SPARE_SLOTS = 8  # wakeups made ahead, so that a growing pool need not replace the keeper at each step


class EventFd:
    """Tells another process that something changed: an eventfd, poll `fileno()`."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def ring(self) -> None:
        os.eventfd_write(self._fd, 1)

    def clear(self) -> bool:
        """Take back all rings so far; True when there was one."""
        try:
            return os.eventfd_read(self._fd) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._fd)


class Wakeups:
    """An event fd for each slot; one made after this process was forked is rung by way of the supervisor."""

    def __init__(self, event_fd: EventFd, asked: memoryview[int], first_slot: int) -> None:
        self._event_fd = event_fd
        self._asked = asked
        self._first = first_slot
        self._event_fds: dict[int, EventFd] = {}

    def make(self, slot: int) -> bool:
        """Make an event fd for *slot*, and some ahead; True when that took new ones."""
        if slot in self._event_fds:
            return False
        for number in range(slot, min(slot + SPARE_SLOTS, self._first + len(self._asked))):
            if number not in self._event_fds:
                self._event_fds[number] = EventFd()
        return True

    def fd(self, slot: int) -> int:
        return self._event_fds[slot].fileno()

    def ring(self, slot: int) -> None:
        event_fd = self._event_fds.get(slot)
        if event_fd is None:
            self._asked[slot - self._first] = 1
            self._event_fd.ring()
        else:
            event_fd.ring()

    def clear(self, slot: int) -> bool:
        return self._event_fds[slot].clear()

    def pass_on(self) -> None:
        """Ring for those who could not do it themselves."""
        for slot, event_fd in self._event_fds.items():
            if self._asked[slot - self._first]:
                self._asked[slot - self._first] = 0
                event_fd.ring()

    def close(self) -> None:
        for event_fd in self._event_fds.values():
            event_fd.close()
        self._event_fds.clear()
