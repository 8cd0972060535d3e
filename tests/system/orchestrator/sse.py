"""A reader of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass
class Block:
    """One event as it came; a comment has only that."""

    name: str = ""
    id: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    comment: str = ""


def blocks(answer: httpx2.Response) -> Iterator[Block]:
    """Read what comes, block by block."""
    block = Block()
    for line in answer.iter_lines():
        if not line:
            if block != Block():
                yield block
            block = Block()
            continue
        name, _, value = line.partition(": ")
        match name:
            case "id":
                block.id = value
            case "event":
                block.name = value
            case "data":
                block.data = json.loads(value)
            case "":
                block.comment = value


def read(http: httpx2.Client, graph_id: str, most: int = 10**9, last_id: str = "", **query: Any) -> list[Block]:
    """Read a run's events until the stream ends, or *most* of them."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    found: list[Block] = []
    with http.stream("GET", f"/api/v1/graphs/{graph_id}/events", headers=headers, params=query) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        for block in blocks(answer):
            if block.name:
                found.append(block)
                if len(found) >= most:
                    break
    return found
