"""Accept a run: its plan and its document first, then its head, its key and its first items in one step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.deciding import Deciding, Render
from executor_worker.broker.graphs.errors import IdempotencyMismatch, RedisFull, TooManyRuns
from executor_worker.broker.graphs.memory import Room
from executor_worker.broker.graphs.requests import Request, ScriptCall, Steps
from executor_worker.broker.graphs.scripts import submit_script
from executor_worker.broker.names import STATE_PREFIX, idempotency_key, run_key
from executor_worker.envelopes.time_id import new_time_id
from executor_worker.envelopes.traces import within
from executor_worker.errors import StreamUnavailable
from executor_worker.graph.definition import Graph
from executor_worker.graph.ends import RunEnd, run_ends
from executor_worker.graph.plan import LAYOUT, Plan, compile_graph
from executor_worker.json_text import dumps

PLANNED_S = 300
"""How long a plan and a document are kept that no run was made of."""
SLICE = 500  # fields in one command


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """
    A graph as it is stored, the same for all its runs.

    Attributes:
        records: Fields and values of the plan.
        places: Of what scripts need to know.
        document: The graph as it came, as JSON.
        states: Of its nodes before any has begun, as JSON.
    """

    plan: Plan
    records: tuple[Any, ...]
    places: tuple[Any, ...]
    document: bytes
    states: bytes

    @classmethod
    def of(cls, graph: Graph) -> StoredPlan:
        """Write a graph that validation has found to be right."""
        plan = compile_graph(graph)
        records: list[Any] = ["", plan.skeleton]
        places: list[Any] = []
        for node in plan.nodes:
            records += (node, plan.nodes[node].dump())
            places += (node, plan.places[node].dump())
        return cls(plan, tuple(records), tuple(places), dumps(graph.document), _pending(plan.nodes))


@dataclass(frozen=True, slots=True)
class Submission:
    """
    A run to be.

    Attributes:
        graph: As validation has found it to be right.
        stored: What of it is stored, if that was made before; None: it is made now.
        graph_id: From `new_graph_id`: with the same one a repetition finds the run it has made.
        idempotency_key: With its scope before it; "": none.
        body_digest: Of the request, so that the same key with another body is noticed.
        traceparent, tracestate: Of the trace that it belongs to; "": it begins one.
        room: What this process knows of the server's memory; a new one asks.
        timeout_s: Goes before the graph's own; None: the graph's, else *default_timeout_s*; 0: none.
    """

    graph: Graph
    inputs: Mapping[str, Any]
    graph_id: str
    idempotency_key: str = ""
    body_digest: str = ""
    submitted_by: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    traceparent: str = ""
    tracestate: str = ""
    timeout_s: float | None = None
    default_timeout_s: float = 3600.0
    queued_max: int = 500
    state_ttl_s: float = 86400.0
    max_active: int = 0
    stored: StoredPlan | None = None
    room: Room = field(default_factory=Room)


@dataclass(frozen=True, slots=True)
class Submitted:
    """
    Attributes:
        status: "submitted"; of a replayed one what it is now, "deleted" if it is gone.
        replayed: Its idempotency key had made it before.
        ends: Of the run, if it was over at once.
    """

    graph_id: str
    status: str
    submitted_at_ms: int
    replayed: bool = False
    ends: tuple[RunEnd, ...] = ()


def new_graph_id(shard: int = 0) -> str:
    """Make the id of a run: a UUIDv7 that ends in its shard's number."""
    return new_time_id(shard)


def submit(run: Submission, render: Render | None = None, deciding: Deciding | None = None) -> Steps[Submitted]:
    """
    Store a run and queue its first nodes.

    Args:
        render: Makes the output of a run that is over at once; None: a worker does.
        deciding: What decides nodes that need no worker; None: their rules.

    Raises:
        IdempotencyMismatch: Its key was used with another body.
        TooManyRuns: `max_active` run already.
        RedisFull: There is no room for it.
        StreamUnavailable: Not now.
    """
    percent = run.room.full_percent()
    stored = run.stored or StoredPlan.of(run.graph)
    base = run_key(run.graph_id)
    deciding = deciding or Deciding(run.graph_id, render)
    deciding.inputs, deciding.skeleton = run.inputs, stored.records[1]
    deciding.plans.update(stored.plan.nodes)
    keys = [base, _idempotency(run, base), STATE_PREFIX + run.graph_id]
    inputs = dumps(dict(run.inputs))
    prefix = _prefix(run, stored.document, inputs)
    document = prefix + b',"status":"submitted","node_states":' + stored.states + b',"submitted_at":"'
    head = _head(run, stored.plan, len(prefix), inputs)
    about: list[Word] = [
        run.body_digest,
        run.max_active,
        percent,
        2 * len(head),
        *(word for pair in head.items() for word in pair),
    ]
    requests = [*_plan_requests(base, stored), (b"SET", keys[2], document, b"EX", PLANNED_S, b"NX")]
    while True:
        *_, reply = _unless_full((yield [*requests, ScriptCall(submit_script(), keys, [*about, *deciding.words()])]))
        if reply[0] != b"judge":
            if percent:
                run.room.note((reply[1], reply[2]) if reply[0] == b"full" else None)
            return _answered(run, reply)
        requests = []
        yield from deciding.decide(reply[1])


def _unless_full(replies: Sequence[Any]) -> Sequence[Any]:
    """
    Answer *replies*, none of which is an error.

    Raises:
        RedisFull: Redis takes no writes at all.
        StreamError: Something else is wrong.
    """
    try:
        return checked(replies)
    except StreamUnavailable as error:
        if str(error).startswith("OOM"):
            raise RedisFull from error
        raise


def _plan_requests(base: str, stored: StoredPlan) -> list[Request]:
    """Write a run's plan, with a TTL until there is a run of it: from its first part on, who writes may be killed."""
    requests: list[Request] = []
    for key, fields in ((f"{base}:plan", stored.records), (f"{base}:edges", stored.places)):
        first, *others = [(b"HSET", key, *fields[at : at + 2 * SLICE]) for at in range(0, len(fields), 2 * SLICE)]
        requests += [first, (b"EXPIRE", key, PLANNED_S), *others]
    return requests


def _answered(run: Submission, reply: Sequence[Any]) -> Submitted:
    """
    Read what came of it.

    Raises:
        IdempotencyMismatch, TooManyRuns, RedisFull, StreamUnavailable: Nothing did.
    """
    match reply[0]:
        case b"submitted":
            return Submitted(run.graph_id, "submitted", reply[1], ends=run_ends(reply[2]))
        case b"replayed":
            return Submitted(reply[1].decode(), reply[2].decode(), reply[3], replayed=True)
        case b"mismatch":
            raise IdempotencyMismatch(reply[1].decode())
        case b"active":
            raise TooManyRuns(reply[1])
        case b"full":
            raise RedisFull(*reply[1:])
    raise StreamUnavailable("the run's plan was lost before it was accepted; submit it again")


def _idempotency(run: Submission, base: str) -> str:
    if not run.idempotency_key:
        return base
    return idempotency_key(hashlib.sha256(run.idempotency_key.encode()).hexdigest())


def _pending(nodes: Iterable[str]) -> bytes:
    """Write the states of nodes that have not begun."""
    beside: dict[str, Any] = {"output": None, "error": None, "started_at": None, "completed_at": None, "metadata": {}}
    return dumps({name: {"node_id": name, "status": "pending", **beside} for name in nodes})


def _prefix(run: Submission, document: bytes, inputs: bytes) -> bytes:
    """Write the part of the state document that never changes."""
    parts = {
        "graph_id": dumps(run.graph_id),
        "graph": document,
        "inputs": inputs,
        "name": dumps(run.graph.name),
        "labels": dumps(dict(run.labels)),
        "metadata": dumps(dict(run.metadata)),
        "submitted_by": dumps(run.submitted_by),
    }
    return b"{" + b",".join(dumps(name) + b":" + value for name, value in parts.items())


def _head(run: Submission, plan: Plan, prefix: int, inputs: bytes) -> dict[str, Any]:
    graph = plan.graph
    traceparent, parent = within(run.traceparent)
    limits = [limit for limit in (run.timeout_s, graph.timeout_s, run.default_timeout_s) if limit is not None]
    window = max(graph.max_parallel or run.queued_max, 1)
    total = len(graph.nodes)
    own_id = {"original_graph_id": graph.id} if graph.id else {}  # by that name programs of the original look for it
    return {
        # What scripts read each time (HEAD in lua/lib/runs/model.lua) comes first, also what is empty yet: a small
        # hash is searched from its beginning, and to its end for what is not there.
        "v": LAYOUT,
        "epoch": 1,
        "left": total,
        "slots": 0,
        "window": window,
        **dict.fromkeys(("running", "completed", "failed", "cancelled", "skipped", "started", "todo", "backlog"), 0),
        "status": "submitted",
        **dict.fromkeys(("stopping", "held", "error"), ""),
        "failure": graph.failure,
        "output": int(graph.output is not None),
        "ttl": int(run.state_ttl_s),
        "traceparent": traceparent,
        "tracestate": run.tracestate,
        "graph_id": run.graph_id,
        "total": total,
        "ids": "\t".join(graph.nodes),
        "sinks": "\t".join(plan.sinks),
        "roots": "\t".join(plan.roots),
        "prefix": prefix,
        "inputs": inputs,
        "timeout": int(limits[0] * 1000),
        "name": graph.name or graph.id or "",
        "labels": dumps(dict(run.labels)),
        "metadata": dumps(dict(run.metadata)),
        "submitted_by": run.submitted_by,
        "trace_parent": parent,
        "told": dumps({"name": graph.name or graph.id, "total": total, **own_id}),
    }
