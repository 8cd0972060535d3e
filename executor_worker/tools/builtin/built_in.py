"""The tools that are always there."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from executor_worker.tools.builtin.calculate import calculate
from executor_worker.tools.builtin.http_request import make_http_request
from executor_worker.tools.builtin.json_query import json_query
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.functions.marks import Mark

_HARMLESS = Mark(name=None, description=None, effects="none", timeout=10.0)
_UNDECLARED = Mark(name=None, description=None, effects=None, timeout=None)


def built_in_tools(http_allow: tuple[str, ...]) -> list[FunctionTool]:
    """Make them; `http_request` only where *http_allow* (HTTP_ALLOW) lists hosts."""
    tools = [FunctionTool(function, _HARMLESS, "built-in") for function in (calculate, current_time, json_query)]
    if http_allow:
        tools.append(FunctionTool(make_http_request(http_allow), _UNDECLARED, "built-in"))
    for tool in tools:
        tool.circuits = ()  # whether they answer is up to what they are asked, and of whom
    return tools


def current_time(timezone: str = "UTC") -> str:
    """
    Tell the current date and time, as RFC 3339.

    Args:
        timezone: A name such as Europe/Berlin.
    """
    if timezone.upper() in ("UTC", "Z"):
        return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"there is no time zone {timezone!r}") from error
    return datetime.now(zone).isoformat(timespec="seconds")
