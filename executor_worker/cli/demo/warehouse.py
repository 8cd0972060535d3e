"""
A small MCP server over stdio: what a warehouse has, and what it costs.

    python -m executor_worker.cli.demo.warehouse
"""

from __future__ import annotations

import time
from typing import TypeVar

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel

# Long enough to be seen at work.
LOOK_UP_S = 0.4

Number = TypeVar("Number", int, float)

SHELVES = {"bolt": 1200, "nut": 80, "gear": 7}
PRICES = {"bolt": 0.12, "nut": 0.05, "gear": 18.5}

server = MCPServer("warehouse")
READ_ONLY = ToolAnnotations(readOnlyHint=True)


class Stock(BaseModel):
    item: str
    pieces: int


class Price(BaseModel):
    item: str
    euros: float


@server.tool(annotations=READ_ONLY)
def stock(item: str) -> Stock:
    """Count the pieces of an item on the shelves."""
    return Stock(item=item, pieces=_look_up(SHELVES, item))


@server.tool(annotations=READ_ONLY)
def price(item: str) -> Price:
    """Look up the price of one piece of an item, in euros."""
    return Price(item=item, euros=_look_up(PRICES, item))


def _look_up(table: dict[str, Number], item: str) -> Number:
    time.sleep(LOOK_UP_S)
    if item not in table:
        raise ValueError(f"the warehouse does not know {item!r}; it has {', '.join(table)}")
    return table[item]


if __name__ == "__main__":
    server.run("stdio")
