"""What most of these tests do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from executor_worker.broker import COMPLETED_STREAM, GROUP, WORK_STREAMS, Claim, Consumer, DocumentCommit, Link, Settled
from executor_worker.broker.queue import waits
from executor_worker.graph.state import GraphState

WORK, EVENTS = WORK_STREAMS
Client = Any  # redis-py's types say of every reply that it may be anything


def push(db: Client, node: str = "n", graph: str = "g", stream: str = WORK, **more: Any) -> str:
    """Add an item."""
    data = {"graph_id": graph, "node_id": node, "node_type": "tool", "config": {}, **more}
    return str(db.xadd(stream, {"data": json.dumps(data)}).decode())


def take(consumer: Consumer, **options: Any) -> Claim:
    """Take an entry that must be there."""
    taken = consumer.take(**options)
    assert taken is not None
    return taken


def commit(document: bytes = b'{"a":1}', expected: bytes | None = b"", **more: Any) -> DocumentCommit:
    """A plain commit: one event, and a state that was not there."""
    given = {"state_key": "dago:state:g", "events": [(COMPLETED_STREAM, b"event")], **more}
    return DocumentCommit(expected=expected, document=document, **given)


def settle(consumer: Consumer, taken: Claim, what: DocumentCommit | None = None, *, force: bool = False) -> Settled:
    """Settle without taking the next."""
    return consumer.settle(taken.held, replace(what or commit(), force=force), take_next=False).ending


def survey(link: Link, calling: Sequence[str] = (), most: int = 5) -> waits.Survey:
    """Look at what is waited for as the keeper of a pool called b does."""
    return waits.survey(link, "b", WORK_STREAMS, calling, place_s=15.0, most=most)


def digest(raw: bytes) -> bytes:
    """What a commit expects."""
    return GraphState.digest(raw)


def pending(db: Client, stream: str = WORK) -> dict[str, tuple[str, int, int]]:
    """Entry → consumer, idle ms, delivery count."""
    rows = db.xpending_range(stream, GROUP, "-", "+", 1000)
    return {
        row["message_id"].decode(): (row["consumer"].decode(), row["time_since_delivered"], row["times_delivered"])
        for row in rows
    }


def events(db: Client, stream: str = COMPLETED_STREAM) -> list[bytes]:
    """The data of all entries of a stream."""
    return [fields[b"data"] for _, fields in db.xrange(stream)]


def snapshot(db: Client) -> dict[bytes, bytes]:
    """All keys as they are: for what must not have changed."""
    return {key: db.dump(key) or b"" for key in db.keys("*")}


def fill(db: Client, count: int, idle_ms: dict[int, int], stream: str = WORK) -> list[str]:
    """Have *count* pending entries; those at the given positions idle."""
    pipe = db.pipeline(transaction=False)
    for index in range(count):
        pipe.xadd(stream, {"data": "x"}, id=f"1-{index + 1}")
    pipe.execute()
    db.xgroup_create(stream, GROUP, "0")
    db.xreadgroup(GROUP, "w.1", {stream: ">"}, count=count)
    for position, idle in idle_ms.items():
        db.xclaim(stream, GROUP, "w.1", 0, [f"1-{position + 1}"], idle=idle, justid=True)
    return [f"1-{position + 1}" for position in idle_ms]


def bury(db: Client, data: bytes = b'{"id":"w1","graph_id":"g","node_id":"n"}', stream: str = WORK) -> str:
    """Put an item among the dead letters of *stream*."""
    fields = {"data": data, "original_id": "5-5", "reason": "poisoned", "error": "it died", "deliveries": "5"}
    return str(db.xadd(f"{stream}:dead", fields).decode())
