"""Keeping a call of foreign code in this thread within its time, and its prints out of our results."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from _signal import getsignal  # type: ignore[import-not-found]  # the public one looks handlers up in an enum first
from types import FrameType
from typing import ClassVar

from executor_worker.errors import Overdue

_STDOUT, _STDERR = 1, 2
_EARLY_SECONDS = 0.01  # a timer's own inexactness
_TIMERS = hasattr(signal, "setitimer")
_AGAIN_SECONDS = 1.0  # a tool that swallows the interruption is interrupted again; its cleanup has so long


class CallOverdue(Overdue):
    """The time of one call is up: raised and caught here, so never taken for the item's own deadline."""


class time_limit:  # noqa: N801 - used like a function
    """
    Raise `CallOverdue` in the block when *seconds* have passed.

    Works in the main thread only, where Python runs signal handlers, and not inside a C call that never
    returns to the interpreter: those are ended from outside, by the supervisor. One block at a time.
    Windows has no such timers: there nothing is interrupted.
    """

    __slots__ = ("_before", "_seconds", "_timed")

    due: ClassVar[float | None] = None  # on the monotonic clock, of the block in progress
    owner: ClassVar[FrameType | None] = None  # whose block it is
    settled: ClassVar[bool] = False  # the handler stays where it is
    main_thread: ClassVar[int] = 0  # its number, once that does not change any more
    outer: ClassVar[tuple[float, float]] = (0.0, 0.0)  # what the timer is set to after a block: first and next seconds

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self.arm(sys._getframe(1))

    def arm(self, owner: FrameType) -> None:
        """Begin: from now on *owner*, and what it calls, may be interrupted."""
        main_thread = time_limit.main_thread or threading.main_thread().ident
        self._timed = _TIMERS and threading.get_ident() == main_thread
        if not self._timed:
            return
        if not time_limit.settled or getsignal(signal.SIGALRM) is not _interrupt:  # a tool may have set its own
            self._before = signal.signal(signal.SIGALRM, _interrupt)
        time_limit.owner = owner
        time_limit.due = time.monotonic() + self._seconds - _EARLY_SECONDS
        signal.setitimer(signal.ITIMER_REAL, max(self._seconds, 0.001), _AGAIN_SECONDS)

    def __exit__(self, *_: object) -> None:
        if self._timed:
            _disarm()
            if not time_limit.settled:
                signal.signal(signal.SIGALRM, self._before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    due = time_limit.due
    if due is None or time.monotonic() < due:
        return  # another process has sent it: to a whole control group perhaps
    while frame is not None and frame is not time_limit.owner:
        frame = frame.f_back
    if frame is None:  # an interruption came just when the block began or ended, and it was left without its end
        _disarm()
        return
    raise CallOverdue("the call's time is up")


def _disarm() -> None:
    time_limit.due = time_limit.owner = None
    signal.setitimer(signal.ITIMER_REAL, *time_limit.outer)


class one_process:  # noqa: N801 - used like a function
    """
    End a process that the block has forked if it would leave it, whatever by: nothing from here on is its business.

    It would be a second worker, with the first one's name, connection and item in hand.
    """

    __slots__ = ("_pid",)

    def __enter__(self) -> None:
        self._pid = os.getpid()

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._pid:
            os._exit(1)


class prints_to_stderr:  # noqa: N801 - used like a function
    """Send what the block prints, its child processes included, to stderr: stdout is for results."""

    __slots__ = ("_descriptor", "_stdout")

    given_up: ClassVar[bool] = False  # this process has no results to print: its stdout is stderr for good

    def __enter__(self) -> None:
        self._stdout, sys.stdout = sys.stdout, sys.stderr
        self._descriptor = None if prints_to_stderr.given_up else _diverted()

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._stdout
        if self._descriptor is not None:
            _lead_back(self._descriptor)


class foreign_call(time_limit):  # noqa: N801 - used like a function
    """
    Keep a block of foreign code within *seconds*, its prints out of our results, and what it forks from going on in it.

    All of `time_limit`, `prints_to_stderr` and `one_process` in one, for what is called with every item.
    """

    __slots__ = ("_descriptor", "_pid", "_stdout")

    def __enter__(self) -> None:
        self._pid = os.getpid()
        self._stdout, sys.stdout = sys.stdout, sys.stderr
        self._descriptor = None if prints_to_stderr.given_up else _diverted()
        try:
            self.arm(sys._getframe(1))
        except BaseException:  # an interruption may come from the first moment
            self._print_again()
            raise

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._pid:
            os._exit(1)
        try:
            time_limit.__exit__(self)
        finally:  # … up to the last
            self._print_again()

    def _print_again(self) -> None:
        sys.stdout = self._stdout
        if self._descriptor is not None:
            _lead_back(self._descriptor)


def settle_in() -> None:
    """
    Set up for good what each call would set up and take down again, in a process that is here for nothing else.

    Its stdout is stderr from now on, and SIGALRM belongs to `time_limit`: twenty microseconds less for each call.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, _interrupt)
        time_limit.settled = True
        time_limit.main_thread = threading.get_ident()
    with contextlib.suppress(OSError):
        os.dup2(_STDERR, _STDOUT)
        prints_to_stderr.given_up = True


def _lead_back(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.dup2(descriptor, _STDOUT)
    os.close(descriptor)


def _diverted() -> int | None:
    """Let stdout lead to stderr; returns where it led before, None if it is closed: nothing to protect."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.dup2(_STDERR, _STDOUT)
    return kept
