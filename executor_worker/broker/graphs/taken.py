"""The node that comes with a run's item: all that is needed to run it, read in the step that started it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.graphs.deciding import past_node
from executor_worker.broker.graphs.records import NodeField
from executor_worker.graph.judging import Seen
from executor_worker.graph.plan import NodePlan
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import loads


@dataclass(slots=True)
class TakenNode:
    """
    A run's node that was started in our name.

    Attributes:
        took: Of its past nodes, which of their edges were taken.
        gap_s: From the end of a node that let it be queued to its start; None if it is the run's first or runs again.
    """

    graph_id: str
    node: str
    epoch: int
    attempt: int
    plan: NodePlan
    seen: Seen
    took: dict[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    tracestate: str | None = None
    gap_s: float | None = None


@dataclass(frozen=True, slots=True)
class TakenStep:
    """More of a run that has more to do than one script may; *what*: "step", or "render" for its document."""

    graph_id: str
    what: str


def taken_of(reply: Sequence[Any]) -> TakenNode | TakenStep:
    """Read what `started` in lua/lib/runs/start.lua has answered."""
    if reply[0] == b"step":
        return TakenStep(reply[1].decode(), reply[3].decode())
    _, graph_id, node, epoch, attempt, own, record, inputs, past, traceparent, tracestate, _, edges = reply[:13]
    plan = NodePlan.load(record)
    seen: dict[str, NodeEnd] = {}
    took: dict[str, str] = {}
    for name, raw, output in past:
        one = past_node(raw, output, None)
        seen[name.decode()] = one or NodeEnd("")
        if raw is not None:
            took[name.decode()] = NodeField.parse(raw).took
    return TakenNode(
        graph_id=graph_id.decode(),
        node=node.decode(),
        epoch=epoch,
        attempt=attempt,
        plan=plan,
        seen=Seen(graph_id.decode(), loads(inputs) if inputs else {}, seen),
        took=took,
        traceparent=traceparent.decode() if traceparent else None,
        tracestate=tracestate.decode() if tracestate else None,
        gap_s=_gap_s(own) if edges and attempt == 1 else None,
    )


def _gap_s(own: bytes) -> float:
    state = NodeField.parse(own)
    return (state.started_ms - state.queued_ms) / 1000
