"""Parts of a run's documents: a node's state, outputs that are derived from others', objects of JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

from executor_worker.broker.graphs.records import NodeField
from executor_worker.envelopes.events import rfc3339
from executor_worker.graph.plan import NodePlan
from executor_worker.json_text import dumps

_NULL = len("null")


def joined(parts: Mapping[str, bytes]) -> bytes:
    """Write an object of values that are JSON already."""
    return b"{" + b",".join(dumps(name) + b":" + value for name, value in parts.items()) + b"}"


def time_of(ms: int | None) -> bytes:
    """Write a time, or null."""
    return dumps(rfc3339(ms / 1000) if ms else None)


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
            if way.target in ends and (took == "*" or took[at : at + 1] == "1") and ends[way.target][-1:] != [name]:
                ends[way.target].append(name)
    return {name: sources for name, sources in ends.items() if sources}


def in_order(sources_of: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Put each end behind those that led to it."""
    ends = TopologicalSorter(
        {name: [one for one in sources if one in sources_of] for name, sources in sources_of.items()}
    )
    return {name: sources_of[name] for name in ends.static_order()}


def measure_ends(sizes: dict[str, int], sources_of: Mapping[str, Sequence[str]]) -> None:
    """Add to *sizes* the bytes of ends, in order: each may have twice what those have that led to it, and so on."""
    for name, sources in sources_of.items():
        names = 1 + sum(len(dumps(source)) + 2 for source in sources) if len(sources) > 1 else 0
        sizes[name] = names + sum(sizes.get(source, _NULL) for source in sources)


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
    before, behind = state_around(name, node, left_out)
    return before + ((left_out is None and output) or b"null") + behind


def state_around(name: str, node: NodeField, left_out: int | None) -> tuple[bytes, bytes]:
    """Write what a node's state has before and behind its output."""
    metadata = node.metadata or {}
    if left_out is not None:
        metadata = {**metadata, "output_bytes": left_out}
    before = {
        "node_id": dumps(name),
        "status": dumps("pending" if node.status in ("ready", "queued") else node.status),
    }
    behind = {
        "error": dumps(node.error),
        "started_at": time_of(node.began_ms or None),
        "completed_at": time_of(node.ended_ms or None),
        "metadata": dumps(metadata),
    }
    return joined(before)[:-1] + b',"output":', b"," + joined(behind)[1:]
