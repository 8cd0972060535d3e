"""A run as one document: its state and its result, put together of its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.errors import RunNotEnded
from executor_worker.broker.graphs.heads import Head, hash_of, head, ids_of, large_hash_of, require, sizes_of
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import STATE_PREFIX, run_key
from executor_worker.envelopes.events import rfc3339
from executor_worker.graph.plan import NodePlan, restored
from executor_worker.json_text import dumps

LARGE, LARGE_OUTPUT = 32 * 2**20, 64 * 2**10
"""Bytes: from the first on a document leaves out outputs over the second."""


def document(graph_id: str, *, full: bool = False) -> Steps[bytes | None]:
    """Write a run's state document as it is now; None if there is no such run."""
    about = yield from head(graph_id)
    if about is None:
        return None
    base = run_key(graph_id)
    ids = yield from ids_of(graph_id)
    records = yield from hash_of(f"{base}:plan", ids)
    skeleton, inputs = checked((yield [(b"HGET", f"{base}:plan", ""), (b"HGET", base, "inputs")]))
    plans = {name: NodePlan.load(record) for name, record in records.items()}
    states, output = yield from _states(about, ids, plans, inputs, full=full)
    parts: dict[str, bytes] = {
        "graph_id": dumps(graph_id),
        "graph": dumps(restored(skeleton, {name: plan.config for name, plan in plans.items()})),
        "inputs": inputs,
        "name": dumps(about.name or None),
        "labels": dumps(about.labels),
        "metadata": dumps(about.metadata),
        "submitted_by": dumps(about.submitted_by),
        "status": dumps(about.status),
        "node_states": states,
        "submitted_at": _time(about.submitted_at_ms),
        "started_at": _time(about.started_at_ms),
        "completed_at": _time(about.completed_at_ms),
        "error": dumps((about.error or {}).get("error")),
        "output": output,
        "seq": dumps(about.seq),
    }
    return joined(parts)


def result(graph_id: str, *, full: bool = False) -> Steps[bytes]:
    """
    Write the result of an ended run.

    Raises:
        RunUnknown, RunNotEnded: There is none.
    """
    about = yield from require(graph_id)
    if not about.ended:
        raise RunNotEnded(graph_id, "stopping" if about.stopping else about.status)
    base = run_key(graph_id)
    ids = yield from ids_of(graph_id)
    records = yield from hash_of(f"{base}:plan", ids)
    (inputs,) = checked((yield [(b"HGET", base, "inputs")]))
    plans = {name: NodePlan.load(record) for name, record in records.items()}
    states, output = yield from _states(about, ids, plans, inputs, full=full)
    parts = {
        **before_result(about),
        "result": states,
        "output": output,
        "error": dumps((about.error or {}).get("error")),
    }
    return joined(parts)


def before_result(about: Head) -> dict[str, bytes]:
    """Write what an ended run's result begins with."""
    return {
        "graph_id": dumps(about.graph_id),
        "status": dumps(about.status),
        "completed_at": _time(about.completed_at_ms),
    }


def joined(parts: Mapping[str, bytes]) -> bytes:
    """Write an object of values that are JSON already."""
    return b"{" + b",".join(dumps(name) + b":" + value for name, value in parts.items()) + b"}"


def _states(
    about: Head, ids: Sequence[str], plans: Mapping[str, NodePlan], inputs: bytes, *, full: bool
) -> Steps[tuple[bytes, bytes]]:
    """Write all nodes' states, and the run's output: what is left out is not read."""
    base = run_key(about.graph_id)
    fields = yield from hash_of(f"{base}:nodes", ids)
    stored = yield from sizes_of(f"{base}:outputs", ids)
    nodes = {name: NodeField.parse(raw) for name, raw in fields.items()}
    sources_of = led(nodes, plans)
    sizes = {**{name: sum(stored.get(one, 0) for one in sources) for name, sources in sources_of.items()}, **stored}
    cut = not full and sum(sizes.values()) > LARGE
    left_out = {name: size for name, size in sizes.items() if cut and size > LARGE_OUTPUT}
    sinks = {name for name in ids if not plans[name].out}
    if sum(sizes.get(name, 0) for name in sinks) > LARGE:
        sinks -= left_out.keys()
    shown = {name for name in ids if name not in left_out} | sinks
    shown |= {source for name in shown for source in sources_of.get(name, ())}
    outputs = yield from large_hash_of(
        f"{base}:outputs", {name: size for name, size in stored.items() if name in shown}
    )
    derive(outputs, nodes, plans, sources_of, inputs)
    rest = "cancelled" if about.ended and about.status == "cancelled" else "pending"
    states = {
        name: state(name, nodes.get(name) or NodeField(status=rest), outputs.get(name), left_out.get(name))
        for name in ids
    }
    return joined(states), (yield from _output(about, ids, nodes, plans, outputs))


def led(nodes: Mapping[str, NodeField], plans: Mapping[str, NodePlan]) -> dict[str, list[str]]:
    """Find the nodes that led to each end whose output is not stored: it is made of theirs."""
    ends = {
        name: list[str]()
        for name, plan in plans.items()
        if plan.type == "end" and name in nodes and nodes[name].status == "completed"
    }
    for name, plan in plans.items() if ends else ():
        took = nodes[name].took if name in nodes and nodes[name].ended else "-"
        for at, way in enumerate(plan.out):
            if way.target in ends and (took == "*" or took[at : at + 1] == "1"):
                ends[way.target].append(name)
    return {name: sources for name, sources in ends.items() if sources}


def derive(
    outputs: dict[str, bytes],
    nodes: Mapping[str, NodeField],
    plans: Mapping[str, NodePlan],
    sources_of: Mapping[str, Sequence[str]],
    inputs: bytes,
) -> None:
    """Lay in the outputs that are not stored twice: of a start the inputs, of an end what led to it."""
    for name, plan in plans.items():
        if plan.type == "start" and name in nodes:
            outputs.setdefault(name, inputs)
    for name, sources in sources_of.items():
        if name not in outputs:
            found = {source: outputs.get(source, b"null") for source in sources}
            outputs[name] = found[sources[0]] if len(sources) == 1 else joined(found)


def state(name: str, node: NodeField, output: bytes | None, left_out: int | None) -> bytes:
    """Write a node's state; *left_out*: how many bytes of output are."""
    metadata = node.metadata or {}
    if left_out is not None:
        metadata, output = {**metadata, "output_bytes": left_out}, None
    parts = {
        "node_id": dumps(name),
        "status": dumps("pending" if node.status in ("ready", "queued") else node.status),
        "output": output or b"null",
        "error": dumps(node.error),
        "started_at": _time(node.began_ms or None),
        "completed_at": _time(node.ended_ms or None),
        "metadata": dumps(metadata),
    }
    return joined(parts)


def _output(
    about: Head,
    ids: Sequence[str],
    nodes: Mapping[str, NodeField],
    plans: Mapping[str, NodePlan],
    outputs: Mapping[str, bytes],
) -> Steps[bytes]:
    if about.status != "completed" or not about.ended:
        return b"null"
    (own,) = checked((yield [(b"HGET", run_key(about.graph_id), "result")]))
    if own is not None:
        return bytes(own)
    sinks = [name for name in ids if not plans[name].out]
    done = {name: outputs.get(name, b"null") for name in sinks if name in nodes and nodes[name].status == "completed"}
    return joined(done) if len(sinks) != 1 or not done else done[sinks[0]]


def _time(ms: int | None) -> bytes:
    return dumps(rfc3339(ms / 1000) if ms else None)


def write_document(graph_id: str, ttl_s: int) -> Steps[None]:
    """Store an ended run's document where programs of others read it; another epoch's is not touched."""
    about = yield from head(graph_id)
    written = yield from document(graph_id)
    now = yield from head(graph_id)
    if about is not None and now is not None and written is not None and now.ended and now.epoch == about.epoch:
        checked((yield [(b"SET", STATE_PREFIX + graph_id, written, b"EX", ttl_s)]))
