"""The node that comes with a run's item: all that is needed to run it, read in the step that started it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from executor_worker.broker.graphs.deciding import past_node
from executor_worker.broker.graphs.past_outputs import past_outputs
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Steps
from executor_worker.graph.judging import Seen
from executor_worker.graph.plan import NodePlan
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import loads

UNREAD = 1  # instead of an output; see `past_of` in lua/lib/runs/start.lua


@dataclass(slots=True)
class TakenNode:
    """
    A run's node that was started in our name.

    Attributes:
        took: Of its past nodes, which of their edges were taken.
        unread: Past nodes whose outputs did not come along: all together they are large.
        gap_s: From the end of a node that let it be queued to its start; None if it is the run's first or runs again.
    """

    graph_id: str
    node: str
    epoch: int
    attempt: int
    plan: NodePlan
    seen: Seen
    took: dict[str, str] = field(default_factory=dict)
    unread: Sequence[str] = ()
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
    unread: list[str] = []
    for name, raw, output in past:
        one = past_node(raw, output if output != UNREAD else None, None)
        if output == UNREAD:
            unread.append(name.decode())
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
        unread=unread,
        traceparent=traceparent.decode() if traceparent else None,
        tracestate=tracestate.decode() if tracestate else None,
        gap_s=_gap_s(own) if edges and attempt == 1 else None,
    )


def read_on(node: TakenNode) -> Steps[None]:
    """
    Read what did not come along.

    Raises:
        TemplateError: It is larger than what is read for one node.
    """
    past = dict(node.seen.past)
    for name, output in (yield from past_outputs(node.graph_id, node.unread)).items():
        past[name] = replace(past[name], output=loads(output))
    node.seen, node.unread = replace(node.seen, past=past), ()


def _gap_s(own: bytes) -> float:
    state = NodeField.parse(own)
    return (state.started_ms - state.queued_ms) / 1000
