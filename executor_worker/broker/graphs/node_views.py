"""Views of a run's nodes: how each stands, and why it is not running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.heads import Head, hash_of, head, ids_of
from executor_worker.broker.graphs.reasons import A_WORKER, parked_reasons
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_key
from executor_worker.graph.plan import NodePlan


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
    held_back = {} if about.ended else (yield from parked_reasons(base, _under_way(states)))
    views = []
    for name in ids:
        state = states.get(name) or NodeField(status=over)
        kind = places[name].decode().split("\n", 1)[0].split("\t")[3] if name in places else ""
        reasons = () if about.ended else _reasons(state, parents.get(name, ()), about)
        views.append(view_of(name, kind, state, reasons, held_back.get(name, "")))
    return views


def _under_way(states: Mapping[str, NodeField]) -> dict[str, str]:
    """Give the status of each node that has an item in a stream."""
    return {name: state.status for name, state in states.items() if state.status in ("queued", "running")}


def view_of(name: str, kind: str, state: NodeField, waiting_for: Iterable[str] = (), held_back: str = "") -> NodeView:
    """
    Make a view of a node's field.

    Args:
        held_back: For what its item waits, held by no worker.
    """
    return NodeView(
        id=name,
        type=kind,
        status="waiting" if held_back else state.status,
        attempt=state.attempt,
        ready_seq=state.ready,
        ended_seq=state.ended,
        queued_at_ms=state.queued_ms or None,
        started_at_ms=state.began_ms or None,
        completed_at_ms=state.ended_ms or None,
        error=state.error,
        metadata=state.metadata or {},
        took=state.took,
        waiting_for=(held_back,) if held_back else tuple(waiting_for),
    )


def _reasons(state: NodeField, parents: Sequence[str], about: Head) -> tuple[str, ...]:
    match state.status:
        case "pending":
            return tuple(parents)
        case "ready":
            return ("the run is held",) if about.held else ("a place among the run's nodes",)
        case "queued":
            return (A_WORKER,)
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
    held_back = {} if about.ended else (yield from parked_reasons(base, _under_way({name: state})))
    view = view_of(name, plan.type, state, _reasons(state, (), about), held_back.get(name, ""))
    return NodeDetail(view, plan, output, about.epoch)
