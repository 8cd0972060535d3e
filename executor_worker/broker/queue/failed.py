"""Nodes that have failed, as their graphs' states tell it: find them, and put them up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import (
    FAILED_PREFIX,
    JOURNAL_PREFIX,
    QUEUE_PREFIX,
    QUEUES,
    STATE_PREFIX,
    WORK_STREAMS,
    run_key,
)
from executor_worker.broker.queue.queues import streams_of
from executor_worker.envelopes.queue_name import named_queue
from executor_worker.errors import StateInvalid, StreamError
from executor_worker.graph.state import GraphState, requeue_node
from executor_worker.json_text import dumps

SCAN_PAGE = 1000
READ_PAGE = 16  # documents in one batch: each may have megabytes


class NotRetried(Exception):
    """A node can't be put up again; says why."""


@dataclass(frozen=True, slots=True)
class FailedNode:
    """
    Attributes:
        failed_at: Seconds since the epoch; 0: not known.
        entry: What the state says of it.
        is_run: Its graph is a run of ours, which is retried as a whole.
    """

    graph_id: str
    node_id: str
    code: str
    error: str
    failed_at: float
    is_run: bool
    entry: dict[str, Any] = field(repr=False)


def failed_nodes(link: Link, graph_id: str | None = None) -> Iterator[FailedNode]:
    """
    Find failed nodes of all graphs whose state is kept, or of one; some states at a time, in no order.

    Raises:
        StreamUnavailable: No reply.
    """
    if graph_id is not None:
        yield from _among(link, [(STATE_PREFIX + graph_id).encode()])
        return
    cursor, seen = b"0", set[bytes]()
    while True:
        cursor, keys = link.call("SCAN", cursor, "MATCH", f"{STATE_PREFIX}*", "COUNT", SCAN_PAGE)
        news = [key for key in dict.fromkeys(keys) if key not in seen]
        seen.update(news)
        for at in range(0, len(news), READ_PAGE):
            yield from _among(link, news[at : at + READ_PAGE])
        if cursor == b"0":
            return


def put_up_again(link: Link, node: FailedNode, *, ttl_s: float) -> str:
    """
    Put the item of a failed node of another system's graph on its stream again; the node is pending.

    Returns:
        The new entry's id.

    Raises:
        NotRetried: Its state says something else by now, or nothing is left of its item.
        StreamUnavailable: No reply; it may have been done.
    """
    key = STATE_PREFIX + node.graph_id
    while True:
        raw = link.call("GET", key)
        state = _parsed(raw)
        if state is None or (state.nodes.get(node.node_id) or {}).get("status") != "failed":
            raise NotRetried("its state does not say any more that it has failed")
        if state.status in ("completed", "cancelled"):
            raise NotRetried(f"its graph is {state.status}")
        stream, data = _item(link, node, state)
        work_id = (state.metadata(node.node_id) or {}).get("work_id")
        journal = JOURNAL_PREFIX + work_id if isinstance(work_id, str) else key
        queue = stream.removeprefix(QUEUE_PREFIX) if stream.startswith(QUEUE_PREFIX) else ""
        entry = link.run(
            script("retry", "types", flags=""),
            [key, stream, journal, QUEUES],
            [GraphState.digest(raw), requeue_node(raw, node.node_id), int(ttl_s * 1000), data, queue],
        )
        if entry is not None:
            return str(entry.decode())


def _item(link: Link, node: FailedNode, state: GraphState) -> tuple[str, bytes]:
    """The stream and the data of the item with which it has failed, else one made of its graph's config."""
    kept = link.call("HGET", FAILED_PREFIX + node.graph_id, node.node_id)
    if kept is not None:
        stream, _, data = kept.partition(b"\n")
        return stream.decode(), data
    config = state.config_of(node.node_id)
    if config is None:
        raise NotRetried("nothing is left of its item, and its graph has no config for it; submit it anew")
    item = {"graph_id": node.graph_id, "node_id": node.node_id, "node_type": "", "config": config}
    queue = named_queue(config)
    return (streams_of(queue) if queue else WORK_STREAMS)[0], dumps(item)


def _among(link: Link, keys: list[bytes]) -> Iterator[FailedNode]:
    for key, raw in zip(keys, link.batch([("GET", key) for key in keys]), strict=True):
        if isinstance(raw, StreamError) and "WRONGTYPE" not in str(raw):
            raise raw
        state = _parsed(raw) if isinstance(raw, bytes) and b'"failed"' in raw else None
        if state is not None:
            yield from _failed_in(link, key.decode("utf-8", "replace").removeprefix(STATE_PREFIX), state)


def _failed_in(link: Link, graph_id: str, state: GraphState) -> Iterator[FailedNode]:
    nodes = ((name, one) for name, one in state.nodes.items() if isinstance(one, dict))
    found = [(name, one) for name, one in nodes if one.get("status") == "failed"]
    is_run = bool(found) and _is_run(link, graph_id)
    for name, one in found:
        metadata = one.get("metadata")
        code = metadata.get("error_code") if isinstance(metadata, dict) else None
        yield FailedNode(
            graph_id, name, str(code or ""), str(one.get("error") or ""), _time(one.get("completed_at")), is_run, one
        )


def _is_run(link: Link, graph_id: str) -> bool:
    try:
        return bool(link.call("EXISTS", run_key(graph_id)))
    except ValueError:
        return False  # another system's name


def _parsed(raw: bytes | None) -> GraphState | None:
    try:
        return GraphState.parse(raw) if raw is not None else None
    except StateInvalid:
        return None


def _time(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0
    except ValueError:
        return 0.0
