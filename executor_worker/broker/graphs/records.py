"""Records of a run as Redis stores them: a node's field, an event's record, what scripts are told of a decision."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.envelopes.events import rfc3339
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import dumps, loads

ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})
OVER = frozenset({"completed", "failed", "cancelled"})
SMALL = 1024
"""Bytes up to which an output is told with the event of its node."""


@dataclass(slots=True)
class NodeField:
    """
    A node's field; see `parse_node` in lua/lib/runs/model.lua. Times in ms, 0: not yet.

    Attributes:
        took: Which of its edges were taken; see `graph/judging.py`.
    """

    status: str = "pending"
    attempt: int = 1
    ready: int = 0
    ended: int = 0
    queued_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    took: str = "-"
    error: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def began_ms(self) -> int:
        """Return when it began: one that takes no worker, when it ended."""
        return self.started_ms or (self.ended_ms if self.status in ("completed", "failed") else 0)

    @classmethod
    def parse(cls, raw: bytes) -> NodeField:
        head, *rest = raw.split(b"\n", 2)
        status, *figures, took = head.decode().split("\t")
        attempt, ready, ended, queued, started, done = map(int, figures)
        error, metadata = (loads(rest[0]), loads(rest[1])) if len(rest) == 2 else (None, None)
        return cls(status, attempt, ready, ended, queued, started, done, took, error, metadata)

    def text(self) -> bytes:
        figures = (self.attempt, self.ready, self.ended, self.queued_ms, self.started_ms, self.ended_ms)
        head = "\t".join((self.status, *map(str, figures), self.took)).encode()
        return head if self.metadata is None else head + rest_of(self.error, self.metadata)


def rest_of(error: str | None, metadata: dict[str, Any]) -> bytes:
    """Write what comes after an ended node's figures: its error and its metadata."""
    return b"\n" + dumps(error) + b"\n" + dumps(metadata)


@dataclass(slots=True)
class Decided:
    """
    The decided end of a node, as scripts are told it; see `read_decision` in lua/lib/runs/arguments.lua.

    Attributes:
        mirror, tail: The event for others; only up to its output and from there on, if there is a tail.
        assumed: Past nodes that it was decided without, since they had not ended.
        value: The output as a value, for what is decided after it in the same call.
    """

    node: str
    status: str
    took: str
    output: bytes = b""
    rest: bytes = b""
    data: bytes = b"{}"
    stream: str = ""
    mirror: bytes = b""
    tail: bytes = b""
    assumed: tuple[str, ...] = ()
    events: tuple[tuple[str, bytes], ...] = ()
    value: Any = None
    error: str | None = None

    def words(self) -> list[Word]:
        told = [word for event in self.events for word in event]
        return [
            self.node, self.status, self.took, self.output, self.rest, self.data, self.stream, self.mirror,
            self.tail, len(self.assumed), *self.assumed, len(self.events), *told,
        ]  # fmt: skip

    @property
    def seen(self) -> NodeEnd:
        """Return the end as other nodes see it."""
        return NodeEnd(self.status, self.value if self.status == "completed" else None, self.error or "")


def mirrored(kind: str, graph_id: str, node: str, data: dict[str, Any]) -> bytes:
    """Write an event for a stream of others; the script puts its id and its time before it."""
    body = {"type": kind, "graph_id": graph_id, "execution_id": graph_id, "node_id": node}
    return dumps({**body, "data": {"graph_id": graph_id, "node_id": node, **data}})[1:]


def completed_mirror(graph_id: str, node: str, data: dict[str, Any]) -> tuple[bytes, bytes]:
    """Write a node's completion for the stream of others, without its output: up to there, and from there on."""
    names = {"graph_id": graph_id, "node_id": node}
    body = {"type": "node.completed", "graph_id": graph_id, "execution_id": graph_id, "node_id": node}
    before, told = dumps({**body, "data": names})[1:-2], dumps(data)[1:-1]
    return before + b',"output":', b",%b}}" % told if told else b"}}"


def event_of(graph_id: str, seq: int, record: bytes) -> dict[str, Any]:
    """Read event number *seq* of a run's log."""
    kind, at, node, data = record.decode().split("\t", 3)
    name = hashlib.sha1(b"%b\n%d\n%b" % (graph_id.encode(), seq, record), usedforsecurity=False).hexdigest()[:32]
    event: dict[str, Any] = {"id": name, "seq": seq, "type": kind, "graph_id": graph_id, "execution_id": graph_id}
    if node:
        event["node_id"] = node
    return {**event, "timestamp": rfc3339(int(at) / 1000), "data": loads(data.encode())}
