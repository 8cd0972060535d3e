"""Whether what a tool is to be called with fits its schema."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from loguru import logger

from executor_worker.nodes.schema import SchemaUnusable, compiled
from executor_worker.tools.base import Tool


def problems(tool: Tool, arguments: dict[str, Any], *, missing: bool = True) -> list[str]:
    """
    Say what is wrong with *arguments*, each with its path; empty where they fit.

    A tool whose own schema can't be used is not withheld for it: it is left to check for itself.

    Args:
        missing: False: parameters that are missing may still come.
    """
    try:
        return compiled(tool.input_schema).problems(arguments, missing=missing)
    except SchemaUnusable as error:
        _tell_once(tool.name, tool.source, str(error))
        return []


@lru_cache(maxsize=256)
def _tell_once(tool: str, source: str, problem: str) -> None:
    logger.bind(tool=tool, source=source, problem=problem).warning("tool.schema_unusable")
