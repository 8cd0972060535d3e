"""The target of log lines: one write each, that never raises and never waits for long."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Up to PIPE_BUF the kernel keeps one process' write to a pipe in one piece; the rest is for the notice before a line.
PIPE_LINE_BYTES = select.PIPE_BUF - 256
# How long a line waits for a reader that is behind. Once one has waited in vain, the next ones don't wait at all.
PATIENCE_MS = 200


class Target:
    """
    A file descriptor for lines.

    A full disk, a closed pipe and a reader that stands still cost lines, never the process:
    they are counted and the count is written when lines go through again.

    Args:
        fd: An open descriptor; it stays the caller's.
        notice: Makes the line that says how many were lost.
    """

    def __init__(self, fd: int, notice: Callable[[int], bytes] = lambda count: b"") -> None:
        self.fd = fd
        self.lost = 0
        self._notice = notice
        self._stalled = False
        mode = _mode(fd)
        self.terminal = stat.S_ISCHR(mode) and os.isatty(fd)
        self.line_limit = None if stat.S_ISREG(mode) else PIPE_LINE_BYTES
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        self._own = _unblocked(fd) if stat.S_ISFIFO(mode) else None

    @property
    def is_journal(self) -> bool:
        """Tell whether systemd's journal reads this very descriptor."""
        return is_journal(self.fd)

    def write(self, line: bytes) -> None:
        # In one write: by itself the notice might still fit in where the line does not.
        if self._put(self._notice(self.lost) + line if self.lost else line):
            self.lost = 0
        else:
            self.lost += 1

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._own is not None:
            os.close(self._own)

    def _put(self, line: bytes) -> bool:
        try:
            if self.line_limit is not None and self._own is None and self._socket is None and not self._ready():
                return False
            return self._send(line)
        except OSError:
            return False

    def _send(self, line: bytes) -> bool:
        try:
            self._once(line)
        except BlockingIOError:
            if not self._ready():
                return False
            self._once(line)
        self._stalled = False
        return True

    def _once(self, line: bytes) -> None:
        if self._socket is not None:
            self._socket.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        else:
            os.write(self.fd if self._own is None else self._own, line)

    def _ready(self) -> bool:
        if not hasattr(select, "poll"):  # Windows
            return True
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        ready = bool(poll.poll(0 if self._stalled else PATIENCE_MS))
        self._stalled = not ready
        return ready


DATE = "{date}"
"""In a log file's name: the day, UTC, as lines have it."""


def open_file(path: str) -> int:
    """
    Open a log file for appending; its folder is made.

    Appending makes each write land at the end, whichever process makes it.
    """
    Path(path).parent.mkdir(0o750, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, 0o640)


def is_journal(fd: int) -> bool:
    """Tell whether systemd's journal reads *fd*."""
    with suppress(OSError):
        seen = os.fstat(fd)
        return os.environ.get("JOURNAL_STREAM", "") == f"{seen.st_dev}:{seen.st_ino}"
    return False


def _mode(fd: int) -> int:
    try:
        return os.fstat(fd).st_mode
    except OSError:
        return 0


def _unblocked(fd: int) -> int | None:
    """
    Open the pipe behind *fd* anew.

    O_NONBLOCK belongs to the open file, which the process that started us shares: it is set on one of our own.
    """
    if not hasattr(os, "O_NONBLOCK"):  # Windows
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # another user's pipe, or no /proc
        return None
