"""The catalogue of a server's tools, and in words why it could not be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import anyio
import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from executor_worker.tools.mcp.lenient import Lenient
from executor_worker.tools.mcp.listing import LeftOut
from executor_worker.tools.mcp.output_schema import OutputSchema
from executor_worker.tools.mcp.wire import ConnectionLost

_MOST_PAGES = 1000
_SDKS_WRONG_TYPE = "Unexpected content type:"
WRONG_TYPE = "it answered with the content type"


class End(NamedTuple):
    """
    The reason why a connection ended, or was none.

    Attributes:
        problem: For the caller; may quote the server.
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
    if reason == WRONG_TYPE and isinstance(cause, MCPError):
        return End(f"{reason} {_type_said(cause)}: it does not speak MCP over Streamable HTTP at this address", reason)
    if isinstance(cause, MCPError) and not reason.startswith("it answered"):
        return End(cause.message or reason, reason)
    if reason != type(cause).__name__:
        return End(reason, reason)
    return End(str(cause).splitlines()[0][:300] if str(cause) else reason, reason)


def _type_said(error: MCPError) -> str:
    said = "".join(char for char in error.message.removeprefix(_SDKS_WRONG_TYPE) if char.isprintable())[:100].strip()
    return repr(said) if said else "that is empty"


def _reason(cause: BaseException, status: int | None) -> str:
    if isinstance(cause, MCPError) and cause.message.startswith(_SDKS_WRONG_TYPE):
        return WRONG_TYPE
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


class Listing(NamedTuple):
    """
    The listing of a server's tools.

    Attributes:
        tools: By name; the first of each.
        outputs: What the results of those tools are like that the server says it of.
        left_out: Those that can't be used.
    """

    tools: dict[str, types.Tool]
    outputs: dict[str, OutputSchema]
    left_out: list[LeftOut]


async def list_tools(client: Client, lenient: Lenient) -> Listing:
    """List all tools, page by page."""
    lenient.version = client.protocol_version
    lenient.begin_list()
    tools: dict[str, types.Tool] = {}
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            tools.setdefault(tool.name, tool)
        cursor = page.next_cursor
        if cursor is None or cursor in seen:
            break
        seen.add(cursor)
    outputs = {name: OutputSchema(schema) for name, schema in lenient.output_schemas.items()}
    return Listing(tools, outputs, lenient.left_out)
