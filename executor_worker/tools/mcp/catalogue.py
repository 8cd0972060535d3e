"""What a server offers, and in words why it could not be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import anyio
import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from executor_worker.tools.mcp.wire import ConnectionLost

_MOST_PAGES = 1000


class End(NamedTuple):
    """
    Why a connection ended, or was none.

    Attributes:
        problem: For whoever asks; may quote the server.
        reason: For the log: in our own words only.
    """

    problem: str
    reason: str


def describe(error: BaseException, status: int | None = None) -> End:
    """Say in a few words why a connection failed; *status* is the last HTTP status seen."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, ConnectionLost):
            return End(str(cause), cause.reason)
    cause = next((cause for cause in causes if not isinstance(cause, anyio.BrokenResourceError)), error)
    reason = _reason(cause, status)
    if isinstance(cause, MCPError) and not reason.startswith("it answered"):
        return End(cause.message or reason, reason)
    if reason != type(cause).__name__:
        return End(reason, reason)
    return End(str(cause).splitlines()[0][:300] if str(cause) else reason, reason)


def _reason(cause: BaseException, status: int | None) -> str:
    if isinstance(cause, httpx2.HTTPStatusError):
        return f"it answered with HTTP status {cause.response.status_code}"
    if isinstance(cause, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "connecting took too long"
    if isinstance(cause, MCPError) and status is not None and status >= 400:
        return f"it answered with HTTP status {status}"
    if isinstance(cause, MCPError):
        return f"MCP error {cause.code}"
    return "it does not speak MCP" if isinstance(cause, ValidationError) else type(cause).__name__


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
