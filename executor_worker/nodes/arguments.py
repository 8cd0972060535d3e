"""Arguments of a tool call, checked against the tool's schema."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from itertools import islice
from typing import Any

from loguru import logger

from executor_worker.nodes.schema import SchemaUnusable, compiled
from executor_worker.nodes.templates import short
from executor_worker.providers.base import ToolCall
from executor_worker.tools.base import Tool

_LISTED_TOOLS = 50


def problems(tool: Tool, arguments: dict[str, Any], *, missing: bool = True) -> list[str]:
    """
    Say what is wrong with *arguments*, each with its path; empty if they fit.

    A tool whose own schema can't be used is not withheld for it: it is left to check for itself.

    Args:
        missing: False: parameters that are missing may still come.
    """
    try:
        return compiled(tool.input_schema).problems(arguments, missing=missing)
    except SchemaUnusable as error:
        _tell_once(tool.name, tool.source, str(error))
        return []


def refusal(call: ToolCall, tool: Tool | None, names: Collection[str]) -> str:
    """Tell the model why *call* can't be made, of *tool* or of one that is none of *names*; empty if it can."""
    if tool is None:
        more = f" and {len(names) - _LISTED_TOOLS} more" if len(names) > _LISTED_TOOLS else ""
        known = ", ".join(islice(names, _LISTED_TOOLS))
        return f"There is no tool {short(call.name)!r}. You may call: {known}{more}."
    if call.arguments is None:
        return f"The arguments were not a JSON object: {call.problem or 'they could not be read'}."
    found = problems(tool, call.arguments)
    return f"The arguments do not fit the tool's schema: {'; '.join(found)}." if found else ""


@lru_cache(maxsize=256)
def _tell_once(tool: str, source: str, problem: str) -> None:
    logger.bind(tool=tool, source=source, problem=problem).warning("tool.schema_unusable")
