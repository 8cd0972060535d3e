"""Views of a run: its head, its nodes, its events, lists of runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.graphs.errors import RunUnknown
from executor_worker.broker.graphs.records import OVER, SMALL, NodeField, event_of
from executor_worker.broker.graphs.requests import Request, Steps, checked
from executor_worker.broker.names import listing_key, run_key
from executor_worker.graph.plan import NodePlan
from executor_worker.json_text import loads

PAGE = 1000
_FIELDS = (
    "graph_id", "status", "stopping", "epoch", "held", "name", "submitted", "started", "ended", "total", "left",
    "completed", "failed", "skipped", "cancelled", "running", "slots", "error", "labels", "metadata", "submitted_by",
    "traceparent", "ttl",
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


@dataclass(frozen=True, slots=True)
class NodeView:
    """
    A node of a run; times in ms since the epoch, by Redis' clock.

    Attributes:
        waiting_for: Why it is not running: its parents that have not ended, "a worker", "its next attempt", …
    """

    id: str
    type: str
    status: str
    attempt: int
    ready_seq: int
    ended_seq: int
    queued_at_ms: int | None
    started_at_ms: int | None
    completed_at_ms: int | None
    error: str | None
    metadata: dict[str, Any]
    took: str
    waiting_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """Attributes: view, plan (config and edges), output (JSON; None: it has none), epoch."""

    view: NodeView
    plan: NodePlan
    output: bytes | None
    epoch: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """
    Attributes:
        next_after: The last seq that was looked at, shown or not.
        ended: It is the run's last one, and the run has ended.
    """

    events: list[dict[str, Any]]
    next_after: int
    ended: bool
    last_seq: int


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of a list of runs; all that is given must hold."""

    status: str = ""
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    since_ms: int | None = None
    until_ms: int | None = None
    q: str = ""
    code: str = ""

    @property
    def by_index(self) -> bool:
        """Tell whether Redis can count them."""
        return not (self.name or self.labels or self.q or self.code or self.since_ms or self.until_ms)

    def takes(self, head: Head) -> bool:
        """Tell whether *head* is wanted; status and times are asked of the index."""
        if self.name and head.name != self.name:
            return False
        if any(head.labels.get(key) != value for key, value in self.labels.items()):
            return False
        if self.code and (head.error or {}).get("error_code") != self.code:
            return False
        texts = [head.graph_id, head.name, *head.labels, *head.labels.values()]
        return not self.q or any(self.q.casefold() in text.casefold() for text in texts)


@dataclass(frozen=True, slots=True)
class Listing:
    """Attributes: runs (newest first), total (None: unknown), next_cursor (None: there is no more)."""

    runs: list[Head]
    total: int | None
    next_cursor: str | None


def _requests(graph_id: str) -> list[Request]:
    base = run_key(graph_id)
    return [(b"HMGET", base, *_FIELDS), (b"LLEN", f"{base}:log")]


def _head_of(fields: Sequence[bytes | None], seq: int) -> Head | None:
    if fields[0] is None:
        return None
    text = {name: value.decode() if value is not None else "" for name, value in zip(_FIELDS, fields, strict=True)}
    count = {name: int(text[name] or 0) for name in _FIELDS if not text[name] or text[name].isdecimal()}
    error = loads(text["error"].encode()) if text["error"] else None
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
        error=error,
        labels=loads(text["labels"].encode() or b"{}"),
        metadata=loads(text["metadata"].encode() or b"{}"),
        submitted_by=text["submitted_by"],
        traceparent=text["traceparent"],
    )


def known_id(graph_id: str) -> bool:
    """Tell whether *graph_id* can be a run's at all: its shard stands in it."""
    return len(graph_id) == 36 and all(letter in "0123456789abcdef-" for letter in graph_id) and graph_id[-3:].isalnum()


def head(graph_id: str) -> Steps[Head | None]:
    """Look at a run; None if there is none."""
    if not known_id(graph_id):
        return None
    fields, seq = checked((yield _requests(graph_id)))
    return _head_of(fields, seq)


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


def ids_of(graph_id: str) -> Steps[list[str]]:
    """Read the ids of a run's nodes, in the graph's order."""
    (ids,) = checked((yield [(b"HGET", run_key(graph_id), "ids")]))
    return ids.decode().split("\t") if ids else []


def nodes(graph_id: str) -> Steps[list[NodeView] | None]:
    """Look at all nodes of a run, in the graph's order; None if there is no such run."""
    about = yield from head(graph_id)
    if about is None:
        return None
    base = run_key(graph_id)
    ids = yield from ids_of(graph_id)
    fields = yield from hash_of(f"{base}:nodes", ids)
    places = yield from hash_of(f"{base}:edges", ids)
    states = {name: NodeField.parse(raw) for name, raw in fields.items()}
    parents: dict[str, list[str]] = {}
    for name, raw in places.items():
        if name not in states or not states[name].ended:
            for line in raw.decode().split("\n")[2:]:
                parents.setdefault(line.split("\t", 1)[0], []).append(name)
    over = about.status if about.ended and about.status == "cancelled" else "pending"
    views = []
    for name in ids:
        state = states.get(name) or NodeField(status=over)
        kind = places[name].decode().split("\n", 1)[0].split("\t")[3] if name in places else ""
        views.append(view_of(name, kind, state, () if about.ended else _reasons(state, parents.get(name, ()), about)))
    return views


def view_of(name: str, kind: str, state: NodeField, waiting_for: Iterable[str] = ()) -> NodeView:
    """Make a view of a node's field."""
    return NodeView(
        id=name,
        type=kind,
        status=state.status,
        attempt=state.attempt,
        ready_seq=state.ready,
        ended_seq=state.ended,
        queued_at_ms=state.queued_ms or None,
        started_at_ms=state.started_ms or None,
        completed_at_ms=state.ended_ms or None,
        error=state.error,
        metadata=state.metadata or {},
        took=state.took,
        waiting_for=tuple(waiting_for),
    )


def _reasons(state: NodeField, parents: Sequence[str], about: Head) -> tuple[str, ...]:
    match state.status:
        case "pending":
            return tuple(parents)
        case "ready":
            return ("the run is held",) if about.held else ("a place among the run's nodes",)
        case "queued":
            return ("a worker",)
        case "waiting":
            return ("its next attempt",)
    return ()


def node(graph_id: str, name: str) -> Steps[NodeDetail | None]:
    """Look at one node closely; None if there is no such node."""
    about = yield from head(graph_id)
    if about is None:
        return None
    base = run_key(graph_id)
    raw, record, output = checked(
        (yield [(b"HGET", f"{base}:nodes", name), (b"HGET", f"{base}:plan", name), (b"HGET", f"{base}:outputs", name)])
    )
    if record is None or not name:
        return None
    plan = NodePlan.load(record)
    state = NodeField.parse(raw) if raw is not None else NodeField()
    return NodeDetail(view_of(name, plan.type, state, _reasons(state, (), about)), plan, output, about.epoch)


def events(
    graph_id: str,
    after: int = 0,
    limit: int = 500,
    *,
    types: Collection[str] = (),
    nodes: Collection[str] = (),
    include_output: bool = False,
) -> Steps[EventPage]:
    """
    Read a run's events after number *after*.

    Args:
        include_output: Also outputs that are too large to be told with each event.

    Raises:
        RunUnknown: There is no such run.
    """
    base = run_key(graph_id) if known_id(graph_id) else ""
    if not base:
        raise RunUnknown(graph_id)
    fields, last, records = checked(
        (yield [*_requests(graph_id), (b"LRANGE", f"{base}:log", after, after + limit - 1)])
    )
    about = _head_of(fields, last)
    if about is None:
        raise RunUnknown(graph_id)
    found = [event_of(graph_id, after + at, record) for at, record in enumerate(records, 1)]
    wanted = [one for one in found if _wanted(one, types, nodes)]
    yield from _lay_in(base, wanted, include_output)
    looked = after + len(records)
    return EventPage(wanted, looked, about.ended and looked >= last, last)


def _wanted(event: Mapping[str, Any], types: Collection[str], nodes: Collection[str]) -> bool:
    return (not types or event["type"] in types) and (not nodes or event.get("node_id") in nodes)


def _lay_in(base: str, found: Iterable[dict[str, Any]], all_of_them: bool) -> Steps[None]:
    """Put outputs into the events of their nodes: the log itself holds none."""
    some = [
        one
        for one in found
        if one["type"] == "node.completed" and (all_of_them or one["data"].get("output_bytes", SMALL + 1) <= SMALL)
    ]
    outputs = yield from hash_of(f"{base}:outputs", [one["node_id"] for one in some])
    for one in some:
        if one["node_id"] in outputs:
            one["data"] = {"output": loads(outputs[one["node_id"]]), **one["data"]}
            del one["data"]["output_bytes"]


def check_cursor(graph_id: str, seq: int, four: str) -> Steps[bool]:
    """Tell whether event number *seq* is still the one whose id begins with *four*."""
    if seq == 0:
        return True
    (records,) = checked((yield [(b"LRANGE", f"{run_key(graph_id)}:log", seq - 1, seq - 1)]))
    return bool(records) and event_of(graph_id, seq, records[0])["id"].startswith(four)


def cursor_of(event: Mapping[str, Any]) -> str:
    """Answer how an event is named as the place to go on from."""
    return f"{event['seq']}-{event['id'][:4]}"


def active_count() -> Steps[int]:
    """Count the runs that have not ended."""
    (count,) = checked((yield [(b"ZCARD", listing_key("running"))]))
    return int(count)


def listing(wanted: Filter, limit: int = 20, cursor: str = "", offset: int = 0) -> Steps[Listing]:
    """List runs, newest first; *cursor* is where an earlier listing ended."""
    status = "running" if wanted.status in ("submitted", "running", "pending") else wanted.status
    key = listing_key(status)
    highest = "+inf" if wanted.until_ms is None else str(wanted.until_ms)
    lowest = "-inf" if wanted.since_ms is None else str(wanted.since_ms)
    total = None
    if wanted.by_index:
        (total,) = checked((yield [(b"ZCARD", key)]))
    at, skip, last = offset if wanted.by_index else 0, 0 if wanted.by_index else offset, ""
    if cursor:
        highest, _, last = cursor.partition("_")
        at = 0
    found: list[Head] = []
    while True:
        (reply,) = checked((yield [(b"ZREVRANGEBYSCORE", key, highest, lowest, "LIMIT", at, max(limit + 1, 50))]))
        ids = [name.decode() for name in reply]
        at += len(ids)
        heads = yield from _heads([name for name in ids if not last or name < last])
        for one in heads:
            if not wanted.takes(one) or (wanted.status and wanted.status != one.status and status != "running"):
                continue
            if skip:
                skip -= 1
            elif len(found) == limit:
                return Listing(found, total, f"{found[-1].submitted_at_ms}_{found[-1].graph_id}")
            else:
                found.append(one)
        if len(ids) < max(limit + 1, 50):
            return Listing(found, total, None)


def _heads(ids: Sequence[str]) -> Steps[list[Head]]:
    if not ids:
        return []
    replies = checked((yield [request for name in ids for request in _requests(name)]))
    heads = [_head_of(fields, seq) for fields, seq in zip(replies[::2], replies[1::2], strict=True)]
    return [one for one in heads if one is not None]
