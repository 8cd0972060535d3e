"""
An MCP server made with the SDK, so of the newest protocol, over the transport named as first argument.

Further arguments: the port; and any text, which the tool `which` returns.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("modern")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def echo(value: str) -> str:
    return value


@server.tool()
def which() -> str:
    return sys.argv[3] if len(sys.argv) > 3 else ""


@server.tool()
def record(path: str) -> dict[str, int]:
    """Counts its calls in a file."""
    with Path(path).open("a") as file:
        file.write("called\n")
    return {"calls": len(Path(path).read_text().splitlines())}


@server.tool()
async def slow(path: str, seconds: float) -> str:
    """Says in a file that it was called, and that it was cancelled."""
    Path(path).write_text("started")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        Path(path).write_text("cancelled")
        raise
    return "done"


@server.tool()
def die(path: str) -> str:
    Path(path).write_text("called")
    os._exit(3)


@server.tool()
def big(mib: int) -> str:
    return "x" * (mib << 20)


@server.tool()
def fail() -> str:
    raise ValueError("no such customer")


@server.tool()
def picture() -> Image:
    return Image(data=b"hi", format="png")


@server.tool()
async def grow(name: str, context: Context) -> str:
    """Adds a tool and says so."""
    server.add_tool(lambda: name, name=name, description="grown")
    await context.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    elif sys.argv[1] == "sse":
        server.run("sse", port=int(sys.argv[2]))
    else:
        server.run("streamable-http", port=int(sys.argv[2]))
