"""Heads of runs: how each stands at a glance; and readings in pages that all views share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.errors import RunUnknown
from executor_worker.broker.graphs.records import OVER
from executor_worker.broker.graphs.requests import Request, Steps
from executor_worker.broker.names import run_key
from executor_worker.json_text import loads

PAGE = 1000
PAGE_BYTES = 2**20  # of what one call reads; a larger field goes alone
MICRO = 1_000_000
_FIELDS = (
    "graph_id", "status", "stopping", "epoch", "held", "name", "submitted", "started", "ended", "total", "left",
    "completed", "failed", "skipped", "cancelled", "running", "slots", "error", "labels", "metadata", "submitted_by",
    "traceparent", "ttl", "cost",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """
    A run at a glance; times in ms since the epoch, by Redis' clock.

    Attributes:
        seq: Of its last event.
        stopping: It was cancelled or has failed, and what it runs is about to end.
        left: Nodes that have not ended.
        queued: Nodes that wait for a worker, or for their next attempt.
        cost_usd: US dollars that its nodes have spent, all attempts of all epochs; None if no call had a price.
        error: Of the first node whose failure the run could not bear: `error`, `error_code`, `node_id`.
    """

    graph_id: str
    name: str
    status: str
    epoch: int
    seq: int
    submitted_at_ms: int
    started_at_ms: int | None
    completed_at_ms: int | None
    stopping: bool
    held: bool
    total: int
    left: int
    completed: int
    failed: int
    skipped: int
    cancelled: int
    running: int
    queued: int
    error: dict[str, Any] | None
    labels: dict[str, str]
    metadata: dict[str, Any]
    submitted_by: str
    traceparent: str
    cost_usd: float | None = None

    @property
    def ended(self) -> bool:
        """Tell whether its last event is written."""
        return self.status in OVER and not self.stopping


def head_requests(graph_id: str) -> list[Request]:
    """List the requests for a head."""
    base = run_key(graph_id)
    return [(b"HMGET", base, *_FIELDS), (b"LLEN", f"{base}:log")]


def head_of(fields: Sequence[bytes | None], seq: int) -> Head | None:
    """Read the replies to it; None if there is no such run."""
    if fields[0] is None:
        return None
    text = {
        name: value.decode(errors="replace") if value is not None else ""
        for name, value in zip(_FIELDS, fields, strict=True)
    }
    count = {name: int(value) if value.isdecimal() and len(value) < 20 else 0 for name, value in text.items()}
    return Head(
        graph_id=text["graph_id"],
        name=text["name"],
        status=text["status"],
        epoch=count["epoch"],
        seq=seq,
        submitted_at_ms=count["submitted"],
        started_at_ms=count["started"] or None,
        completed_at_ms=(count["ended"] or None) if text["status"] in OVER else None,
        stopping=bool(text["stopping"]),
        held=text["held"] == "1",
        total=count["total"],
        left=count["left"],
        completed=count["completed"],
        failed=count["failed"],
        skipped=count["skipped"],
        cancelled=count["cancelled"],
        running=count["running"],
        queued=max(count["slots"] - count["running"], 0),
        error=_object(text["error"]) or None,
        labels=_object(text["labels"]),
        metadata=_object(text["metadata"]),
        submitted_by=text["submitted_by"],
        traceparent=text["traceparent"],
        cost_usd=count["cost"] / MICRO if text["cost"] else None,
    )


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object; an empty one if another program has left something else there."""
    try:
        value = loads(text.encode())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def known_id(graph_id: str) -> bool:
    """Tell whether *graph_id* can be a run's at all: its shard stands in it."""
    return len(graph_id) == 36 and all(letter in "0123456789abcdef-" for letter in graph_id) and graph_id[-3:].isalnum()


def head(graph_id: str) -> Steps[Head | None]:
    """Look at a run; None if there is none."""
    if not known_id(graph_id):
        return None
    fields, seq = checked((yield head_requests(graph_id)))
    return head_of(fields, seq)


def require(graph_id: str) -> Steps[Head]:
    """
    Look at a run.

    Raises:
        RunUnknown: There is none.
    """
    found = yield from head(graph_id)
    if found is None:
        raise RunUnknown(graph_id)
    return found


def hash_of(key: str, ids: Sequence[str]) -> Steps[dict[str, bytes]]:
    """Read fields of a hash in pages, so that no call holds Redis for long."""
    found: dict[str, bytes] = {}
    for at in range(0, len(ids), PAGE):
        some = ids[at : at + PAGE]
        (values,) = checked((yield [(b"HMGET", key, *some)]))
        found.update({name: value for name, value in zip(some, values, strict=True) if value is not None})
    return found


def sizes_of(key: str, ids: Sequence[str]) -> Steps[dict[str, int]]:
    """Ask how many bytes the fields of a hash have; of those that are not there nothing is said."""
    found: dict[str, int] = {}
    for at in range(0, len(ids), PAGE):
        some = ids[at : at + PAGE]
        sizes = checked((yield [(b"HSTRLEN", key, name) for name in some]))
        found.update({name: size for name, size in zip(some, sizes, strict=True) if size})
    return found


def large_hash_of(key: str, sizes: Mapping[str, int]) -> Steps[dict[str, bytes]]:
    """Read the fields that *sizes* names, however large they are: no call holds Redis for long."""
    found: dict[str, bytes] = {}
    for some in pages_of(sizes):
        (values,) = checked((yield [(b"HMGET", key, *some)]))
        found.update({name: value for name, value in zip(some, values, strict=True) if value is not None})
    return found


def pages_of(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Divide fields of these sizes into what one call may read."""
    page, size = list[str](), 0
    for name, more in sizes.items():
        if page and (size + more > PAGE_BYTES or len(page) == PAGE):
            yield page
            page, size = [], 0
        page.append(name)
        size += more
    if page:
        yield page


def ids_of(graph_id: str) -> Steps[list[str]]:
    """Read the ids of a run's nodes, in the graph's order."""
    (ids,) = checked((yield [(b"HGET", run_key(graph_id), "ids")]))
    return ids.decode().split("\t") if ids else []
