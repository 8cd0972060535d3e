"""Keeping a call of foreign code in this thread within its time, and its prints out of our results."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from executor_worker.errors import Overdue

_EARLY_SECONDS = 0.01  # a timer's own inexactness
_AGAIN_SECONDS = 1.0  # a tool that swallows the interruption is interrupted again; its cleanup has so long


class CallOverdue(Overdue):
    """The time of one call is up: raised and caught here, so never taken for the item's own deadline."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """
    Raise `CallOverdue` in the block when *seconds* have passed.

    Works in the main thread only, where Python runs signal handlers, and not inside a C call that never
    returns to the interpreter: those are ended from outside, by the supervisor.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True
    due = time.monotonic() + seconds - _EARLY_SECONDS

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if running and time.monotonic() >= due:  # else somebody else has sent it: to a whole control group perhaps
            raise CallOverdue("the call's time is up")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), _AGAIN_SECONDS)
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Send what the block prints, its child processes included, to stderr: stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr), _descriptor_to_stderr():
        yield


@contextlib.contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    try:
        kept = os.dup(1)
    except OSError:  # stdout is closed: nothing to protect
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.dup2(kept, 1)
        os.close(kept)
