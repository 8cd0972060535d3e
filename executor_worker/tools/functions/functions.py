"""
Python functions as tools: mark them with `@tool`, name their modules in `TOOL_MODULES`.

    from executor_worker.tools import tool

    @tool(effects="none")
    def search(query: str, limit: int = 10) -> list[str]:
        \"\"\"
        Search the archive.

        Args:
            query: Words to look for.
        \"\"\"
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, overload

from pydantic import ValidationError

from executor_worker.errors import Cancelled, Interrupt, NodeError, NodeTimeout, ToolError, ToolFailed, ToolTimeout
from executor_worker.run_context import Circuit, RunContext
from executor_worker.tools.base import Answer, Effects, Log, OnOpen, OnProgress, ToolContext, silent, unheard
from executor_worker.tools.functions.json_value import to_json
from executor_worker.tools.functions.signature import Signature, unfitting
from executor_worker.tools.functions.source_line import source_line_of
from executor_worker.tools.functions.time_limit import CallOverdue, foreign_call, one_process

_F = TypeVar("_F", bound=Callable[..., Any])
_Told = TypeVar("_Told", bound=NodeError | Interrupt)
_RETRY = frozenset({"max_attempts", "delay", "backoff", "max_delay", "on"})
_MARK = "__executor_tool__"
_CLEANUP_SECONDS = 0.2  # what an async function gets to end itself before it is interrupted like any other
_LONGEST_ERROR = 2000  # characters
_JSON_AS_IT_IS = {str, bool, int, type(None)}
_PLAIN = {str, dict, list, int, float, bool, type(None)}  # no need to ask whether such can be awaited


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark that `@tool` sets on a function; None leaves a field to the function or to the settings."""

    name: str | None
    description: str | None
    effects: Effects | None
    timeout: float | None
    isolate: bool = False
    memory_mb: float | None = None
    retry: Mapping[str, Any] | None = None
    on_open: OnOpen = "wait"


@overload
def tool(function: _F, /) -> _F: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Effects | None = None,
    timeout: float | None = None,
    isolate: bool = False,
    memory_mb: float | None = None,
    retry: Mapping[str, Any] | None = None,
    on_open: OnOpen = "wait",
) -> Callable[[_F], _F]: ...
def tool(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Effects | None = None,
    timeout: float | None = None,
    isolate: bool = False,
    memory_mb: float | None = None,
    retry: Mapping[str, Any] | None = None,
    on_open: OnOpen = "wait",
) -> Any:
    """
    Mark a function as a tool; it stays an ordinary function.

    Args:
        name: Default: the function's own.
        description: For the model; default: its docstring up to `Args:`.
        effects: What calling it again does: `none`, `idempotent`, or `unsafe`: then an unknown outcome stays so.
        timeout: Seconds for one call; default: TOOL_TIMEOUT.
        isolate: Run each call in a process of its own, which is killed when its time is up, with all it has started.
        memory_mb: With `isolate`: MiB that a call may write to, beyond what its process begins with.
        retry: How a tool node that calls it is run again when it has failed, if its config says nothing of that:
            `{"max_attempts", "delay", "backoff", "max_delay", "on"}`.
        on_open: What its calls do while it is held back, as five in a row brought no answer: `wait`, or `fail` at once.
    """
    _check_retry(retry)
    if on_open not in get_args(OnOpen):
        raise ValueError(f"@tool(on_open={on_open!r}): use one of {', '.join(get_args(OnOpen))}")
    if effects is not None and effects not in get_args(Effects):
        raise ValueError(f"@tool(effects={effects!r}): use one of {', '.join(get_args(Effects))}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"@tool(timeout={timeout!r}): use a number of seconds above 0")
    if memory_mb is not None and not (isolate and memory_mb > 0):
        raise ValueError(f"@tool(memory_mb={memory_mb!r}): use a number of MiB above 0, with isolate=True")
    if name is not None and not name.strip():
        raise ValueError("@tool(name=''): a tool needs a name")
    if function is not None and not callable(function):
        raise TypeError(f"@tool takes options by name, e.g. @tool(name={function!r})")
    mark = Mark(name, description, effects, timeout, isolate, memory_mb, retry, on_open)

    def marked(wanted: _F) -> _F:
        if not inspect.isroutine(wanted):
            raise TypeError(f"@tool marks functions, not {wanted!r}")
        setattr(wanted, _MARK, mark)
        return wanted

    return marked if function is None else marked(function)


def _check_retry(retry: Any) -> None:
    if retry is None:
        return
    if not isinstance(retry, Mapping) or not retry.keys() <= _RETRY:
        raise ValueError(f"@tool(retry={retry!r}): use a dict with some of {', '.join(sorted(_RETRY))}")
    attempts, on = retry.get("max_attempts", 1), retry.get("on", [])
    if not isinstance(attempts, int) or attempts < 1 or not isinstance(on, list):
        raise ValueError(f"@tool(retry={retry!r}): max_attempts is a whole number from 1, on a list of error codes")


def mark_of(value: Any) -> Mark | None:
    """Return the mark that `@tool` set on *value*, None if it was never marked."""
    mark = getattr(value, _MARK, None) if inspect.isroutine(value) else None
    return mark if isinstance(mark, Mark) else None


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
