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

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, overload

from executor_worker.tools.base import Effects, OnOpen

_F = TypeVar("_F", bound=Callable[..., Any])
_RETRY = frozenset({"max_attempts", "delay", "backoff", "max_delay", "on"})
_MARK = "__executor_tool__"


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
