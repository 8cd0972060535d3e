"""
Functions as tools: called in this thread, kept within their time, and their prints out of our results.

`marks.py` says how a function becomes one.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
import time
from _signal import getsignal  # type: ignore[import-not-found]  # the public one looks handlers up in an enum first
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from executor_worker.errors import (
    Cancelled,
    Interrupt,
    NodeError,
    NodeTimeout,
    Overdue,
    ToolError,
    ToolFailed,
    ToolTimeout,
)
from executor_worker.run_context import Circuit, RunContext
from executor_worker.tools.base import Answer, Log, OnProgress, ToolContext, silent, unheard
from executor_worker.tools.functions.json_value import to_json
from executor_worker.tools.functions.marks import Mark
from executor_worker.tools.functions.prints import diverted, give_up_stdout, lead_back, prints_to_stderr
from executor_worker.tools.functions.signature import Signature, unfitting
from executor_worker.tools.functions.source_line import source_line_of

_Told = TypeVar("_Told", bound=NodeError | Interrupt)
_CLEANUP_SECONDS = 0.2  # what an async function gets to end itself before it is interrupted like any other
_LONGEST_ERROR = 2000  # characters
_JSON_AS_IT_IS = {str, bool, int, type(None)}
_PLAIN = {str, dict, list, int, float, bool, type(None)}  # no need to ask whether such can be awaited
_EARLY_SECONDS = 0.01  # a timer's own inexactness
_TIMERS = hasattr(signal, "setitimer")
_AGAIN_SECONDS = 1.0  # a tool that swallows the interruption is interrupted again; its cleanup has so long


class FunctionTool:
    """
    A function as a tool (see `Tool`).

    Attributes:
        own_timeout: What the function itself declares; None: `timeout` is for the registry to set.
        isolate: Asks to be called in a process of its own: the registry sees to it.
        memory_mb: What a call may use there, MiB; None: no limit.
        retry: How a tool node that calls it is run again; None: it is not.
        circuits: With what it is held back; empty: it never is.
    """

    def __init__(
        self, function: Callable[..., Any], mark: Mark | None = None, source: str | None = None, log: Log = silent
    ) -> None:
        """
        Raises:
            TypeError: Its type hints have no JSON schema.
        """
        mark = mark or Mark(None, None, None, None)
        signature = Signature.of(function)
        self.name = mark.name or function.__name__
        self.description = mark.description or signature.description
        self.input_schema = signature.schema
        self.effects = mark.effects
        self.own_timeout = mark.timeout
        self.isolate = mark.isolate
        self.memory_mb = mark.memory_mb
        self.retry = mark.retry
        self.circuits: tuple[Circuit, ...] = (Circuit("tool", self.name, fails=mark.on_open == "fail"),)
        self.timeout = mark.timeout or 300.0
        self.source = source or f"function {_file_of(function)}"
        self.function = function
        self.log = log
        self.surely_fits = signature.surely_fits
        self._signature = signature
        self._awaited = inspect.iscoroutinefunction(inspect.unwrap(function))

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        """Run it in this thread; see `Tool.call`."""
        left = run_context.deadline - run_context.kept_back - run_context.clock()
        if left <= 0:
            run_context.check()
        seconds = min(self.timeout, left)
        try:
            value = self._run(arguments, run_context, key, seconds, on_progress)
        except CallOverdue as overdue:
            raise self._with_line(self._timeout(item_first=left <= self.timeout), overdue) from overdue
        except (Interrupt, ToolError, NodeTimeout, Cancelled) as error:
            self._with_line(error, error)
            raise
        except BaseException as error:  # sys.exit, RecursionError, MemoryError … of a tool end the call, not the worker
            raise self._with_line(_failure(self.name, error), error) from error
        return Answer(value, is_json=True)

    def _timeout(self, *, item_first: bool) -> NodeTimeout | ToolTimeout:
        if item_first:
            return NodeTimeout(f"the node's time is up in tool {self.name}")
        return ToolTimeout(f"tool {self.name} did not end within {self.timeout:g} s")

    def _with_line(self, error: _Told, cause: BaseException) -> _Told:
        """Note in *error* where the function stood when *cause* ended it."""
        error.where = error.where or source_line_of(cause, self.function)
        return error

    def _run(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, seconds: float, on_progress: OnProgress
    ) -> Any:
        with foreign_call(seconds + (_CLEANUP_SECONDS if self._awaited else 0)):
            try:
                values = self._signature.validate(arguments)
            except ValidationError as error:
                raise unfitting(error) from error
            if self._signature.all_by_name:
                value = self.function(**values)
            else:
                context = ToolContext(key, time.monotonic() + seconds, run_context, self.name, self.log, on_progress)
                positional, named = self._signature.arranged(values, context)
                value = self.function(*positional, **named)
            if type(value) not in _PLAIN and inspect.isawaitable(value):
                with asyncio.Runner() as runner:
                    value = runner.run(_within(value, seconds, self.name))
            return value if type(value) in _JSON_AS_IT_IS else to_json(value)


async def _within(awaitable: Awaitable[Any], seconds: float, name: str) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            with one_process():
                return await awaitable
    except TimeoutError:
        if limit.expired():
            raise CallOverdue("the call's time is up") from None
        raise
    except (SystemExit, KeyboardInterrupt) as error:  # else the loop reports them as never retrieved
        raise _failure(name, error) from error


def _failure(name: str, error: BaseException) -> ToolFailed:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - its own `__str__` is foreign code too
        text = ""
    kind = type(error).__name__
    said = f"{kind}: {text}" if text else kind
    return ToolFailed(f"tool {name} raised {said[:_LONGEST_ERROR]}")


def _file_of(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Path(code.co_filename).name if code is not None else str(function.__module__)


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


class foreign_call(time_limit):  # noqa: N801 - used like a function
    """
    Keep a block of foreign code within *seconds*, its prints out of our results, and what it forks from going on in it.

    All of `time_limit`, `prints_to_stderr` and `one_process` in one, for what is called with every item.
    """

    __slots__ = ("_descriptor", "_pid", "_stdout")

    def __enter__(self) -> None:
        self._pid = os.getpid()
        self._stdout, sys.stdout = sys.stdout, sys.stderr
        self._descriptor = None if prints_to_stderr.given_up else diverted()
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
            lead_back(self._descriptor)


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


def settle_in() -> None:
    """
    Set up for good what each call would set up and take down again, in a process that is here for nothing else.

    Its stdout is stderr from now on, and SIGALRM belongs to `time_limit`: twenty microseconds less for each call.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, _interrupt)
        time_limit.settled = True
        time_limit.main_thread = threading.get_ident()
    give_up_stdout()
