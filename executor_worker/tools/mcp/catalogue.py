"""What a server offers, and in words why it could not be asked."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from executor_worker.tools.mcp.wire import ConnectionLost

_MOST_PAGES = 1000


def describe(error: BaseException, status: int | None = None) -> str:
    """Say in a few words why a connection failed; *status* is the last HTTP status seen."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, ConnectionLost):
            return str(cause)
    cause = next((cause for cause in causes if not isinstance(cause, anyio.BrokenResourceError)), error)
    if isinstance(cause, httpx2.HTTPStatusError):
        return f"it answered with HTTP status {cause.response.status_code}"
    if isinstance(cause, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "connecting took too long"
    if isinstance(cause, MCPError) and status is not None and status >= 400:
        return f"it answered with HTTP status {status}"
    if isinstance(cause, MCPError):
        return cause.message or f"MCP error {cause.code}"
    if isinstance(cause, ValidationError):
        return "it does not speak MCP"
    return str(cause).splitlines()[0][:300] if str(cause) else type(cause).__name__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def list_tools(client: Client) -> dict[str, types.Tool]:
    """All tools, page by page; the first of each name."""
    tools: dict[str, types.Tool] = {}
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            tools.setdefault(tool.name, tool)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools
