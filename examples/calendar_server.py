"""A small MCP server over stdio, started by the workers themselves: see mcp.json."""

from __future__ import annotations

from datetime import date, timedelta

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("calendar")
SATURDAY = 5


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add_working_days(start: date, days: int) -> str:
    """Name the day that is so many working days (Monday to Friday) after a day."""
    day = start
    while days > 0:
        day += timedelta(days=1)
        days -= day.weekday() < SATURDAY
    return f"{day:%A}, {day.isoformat()}"


if __name__ == "__main__":
    server.run("stdio")
