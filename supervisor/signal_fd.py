"""
Signals read one by one, in the order in which they were sent; `signalfd(2)`.

A handler can't tell that order: a signal that comes while another's handler begins is handled first, so that of two
that undo each other the wrong one may have the last word. Of `SIGTSTP` and `SIGCONT` the kernel keeps the later only.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection

from supervisor.libc import failed, libc

SET_BYTES = 128  # sigset_t of the C libraries of Linux
INFO_BYTES = 128  # struct signalfd_siginfo; its first field, 32 bits, is the signal's number


class SignalFd:
    """Receives *numbers*, which it blocks in this thread; readable while one is pending."""

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        wanted = sum(1 << (number - 1) for number in numbers).to_bytes(SET_BYTES, sys.byteorder)
        self._fd: int = libc().signalfd(-1, wanted, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise failed("signalfd")

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[int]:
        """Take out the numbers that have come in since, the oldest first."""
        numbers: list[int] = []
        try:
            while info := os.read(self._fd, INFO_BYTES):
                numbers.append(int.from_bytes(info[:4], sys.byteorder))
        except BlockingIOError:
            pass
        return numbers

    def close(self) -> None:
        os.close(self._fd)
