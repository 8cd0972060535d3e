"""
Signal → request. A handler only puts a byte into a pipe; the loop reads them and acts.

`TSTP` and `CONT`, which undo each other, are read in the order they were sent, which handlers can't tell.

Which signal asks for what is the contract with operators: docs/SIGNALS.md.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from enum import StrEnum
from types import FrameType

from supervisor.signal_fd import SignalFd


class Request(StrEnum):
    DRAIN = "drain"
    HURRY = "hurry"
    RELOAD = "reload"
    REOPEN_LOGS = "reopen_logs"
    UPGRADE = "upgrade"
    GROW = "grow"
    SHRINK = "shrink"
    PAUSE = "pause"
    RESUME = "resume"
    REPORT = "report"
    REAP = "reap"


REQUESTS: Mapping[signal.Signals, Request] = {
    signal.SIGTERM: Request.DRAIN,
    signal.SIGINT: Request.DRAIN,
    signal.SIGQUIT: Request.HURRY,
    signal.SIGHUP: Request.RELOAD,
    signal.SIGUSR1: Request.REOPEN_LOGS,
    signal.SIGUSR2: Request.UPGRADE,
    signal.SIGTTIN: Request.GROW,
    signal.SIGTTOU: Request.SHRINK,
    signal.SIGTSTP: Request.PAUSE,
    signal.SIGCONT: Request.RESUME,
    signal.SIGALRM: Request.REPORT,
    signal.SIGCHLD: Request.REAP,
}
IN_ORDER = (signal.SIGTSTP, signal.SIGCONT)
EACH_COUNTS = frozenset({Request.GROW, Request.SHRINK, Request.PAUSE, Request.RESUME})


class Inbox:
    """The requests that have come in by signal; each of `filenos` is readable while it has some."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A full pipe loses a signal; it holds 65536 of them.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in REQUESTS:
            signal.signal(number, _enqueued)
        self._in_order = SignalFd(IN_ORDER)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS.keys() - set(IN_ORDER))

    def filenos(self) -> tuple[int, int]:
        return self._reader, self._in_order.fileno()

    def read(self) -> list[Request]:
        """Take out what has come in since; of those that say the same twice, the first."""
        requests: list[Request] = []
        for number in [*self._bytes(), *self._in_order.read()]:
            request = REQUESTS.get(signal.Signals(number))
            if request is not None and (request in EACH_COUNTS or request not in requests):
                requests.append(request)
        return requests

    def close_in_child(self) -> None:
        """Let go of what was read from, in a process that was forked; its signals are none of ours."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)
        self._in_order.close()

    def _bytes(self) -> bytes:
        try:
            return os.read(self._reader, 65536)
        except BlockingIOError:
            return b""


def _enqueued(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has put the number into the pipe before it calls this."""
