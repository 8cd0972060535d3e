"""Decide what a script has asked for: nodes that need no worker, and a run's own output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.heads import hash_of
from executor_worker.broker.graphs.past_outputs import past_outputs
from executor_worker.broker.graphs.records import ENDED, SMALL, Decided, NodeField, completed_mirror, mirrored, rest_of
from executor_worker.broker.graphs.requests import Request, Steps
from executor_worker.broker.names import COMPLETED_STREAM, FAILED_STREAM, run_key
from executor_worker.errors import TemplateError
from executor_worker.graph.judging import Judgement, Seen, edges_taken, judge
from executor_worker.graph.plan import NodePlan, output_of
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import dumps, loads

TOLD_AGAIN = 524288
"""Bytes of a start's or an end's output that are told with its event; see lua/lib/runs/advance.lua."""

LATER = b"\x00"
"""For a run's output: the asking process can't make it, a worker will."""

Render = Callable[[Any, Seen], tuple[Any, dict[str, str]]]
"""Renders a run's `output` template; also answers why some parts of it could not be made, by their places."""


@dataclass(slots=True)
class Deciding:
    """
    Knowledge gathered while one script is asked again and again until nothing is undecided.

    Attributes:
        local: What ends in this very call: no other process can know of it yet.
        plans: Records that are known without asking.
        output: The run's own output, as JSON, once it was asked for; on another line, what of it could not be made.
    """

    graph_id: str
    render: Render | None
    inputs: Mapping[str, Any] | None = None
    plans: dict[str, NodePlan] = field(default_factory=dict)
    local: dict[str, Decided] = field(default_factory=dict)
    given: dict[str, Decided] = field(default_factory=dict)
    output: bytes = b""
    skeleton: bytes | None = None

    def words(self) -> list[Any]:
        """Return the script's arguments: the decisions and the run's output."""
        words: list[Any] = [len(self.given)]
        for decided in self.given.values():
            words += decided.words()
        return [*words, self.output if self.render is not None else LATER]

    def decide(self, asked: Sequence[bytes]) -> Steps[None]:
        """
        Decide what *asked* names: pairs of a node ("" for the run's output) and what ended before it in the call.

        The latter is written by `ended_here` in lua/lib/runs/advance.lua; an end that is asked for too, with
        the nodes that led to it, whose outputs are its own.
        """
        pairs = [(asked[at].decode(), asked[at + 1]) for at in range(0, len(asked), 2)]
        yield from self._know([node for node, _ in pairs if node])
        for node, ended in pairs:
            just_ended = dict(map(_end_of, ended.split(b"\n"))) if ended else {}
            if node:
                led = just_ended.pop(node, None)
                yield from self._decide_node(node, just_ended, tuple(led.output) if led is not None else ())
            else:
                yield from self._decide_output(just_ended)

    def _know(self, nodes: Sequence[str]) -> Steps[None]:
        """Read the records of *nodes* and the inputs, if they are not known."""
        base = run_key(self.graph_id)
        missing = [node for node in nodes if node not in self.plans]
        requests: list[Request] = []
        if missing:
            requests.append((b"HMGET", f"{base}:plan", *missing))
        if self.inputs is None:
            requests.append((b"HGET", base, "inputs"))
        if not requests:
            return
        replies = list(checked((yield requests)))
        if missing:
            records = replies.pop(0)
            self.plans.update({node: NodePlan.load(record) for node, record in zip(missing, records, strict=True)})
        if self.inputs is None:
            self.inputs = loads(replies[0] or b"{}")

    def _decide_node(self, node: str, just_ended: Mapping[str, NodeEnd], led: tuple[str, ...]) -> Steps[None]:
        plan, assumed = self.plans[node], tuple[str, ...]()
        try:
            past, assumed = yield from self._past(dict.fromkeys((*plan.reads, *led)), just_ended, node)
            yield from self._lay_in_starts(led, past)
            seen = {name: past[name] for name in plan.reads}
            judged = judge(plan, node, Seen(self.graph_id, self.inputs or {}, seen), _output_of_end(led, past))
        except TemplateError as error:
            took, errors = edges_taken(plan, node, "failed", None, Seen(self.graph_id, {}, {}), str(error))
            judged = Judgement("failed", took, None, str(error), error.code, errors)
        decided = decided_of(self.graph_id, node, plan.type, judged, assumed)
        self.given[node] = self.local[node] = decided

    def _decide_output(self, just_ended: Mapping[str, NodeEnd]) -> Steps[None]:
        if self.skeleton is None:
            (reply,) = checked((yield [(b"HGET", f"{run_key(self.graph_id)}:plan", "")]))
            self.skeleton = reply
        template, reads = output_of(self.skeleton)
        yield from self._know([])
        assert self.render is not None
        try:
            past, _ = yield from self._past(reads, just_ended, "")
            value, wrong = self.render(template, Seen(self.graph_id, self.inputs or {}, past))
            self.output = dumps(value)
        except (TemplateError, ValueError) as error:
            self.output, wrong = b"null", {"output": str(error)}
        if wrong:
            self.output += b"\n" + dumps(wrong)

    def _lay_in_starts(self, led: Sequence[str], past: dict[str, NodeEnd]) -> Steps[None]:
        """Lay in the outputs of starts that are not stored twice: they are the inputs."""
        bare = [name for name in led if past[name].output is None]
        yield from self._know(bare)
        for name in bare:
            if self.plans[name].type == "start":
                past[name] = NodeEnd(past[name].status, dict(self.inputs or {}))

    def _past(
        self, reads: Iterable[str], just_ended: Mapping[str, NodeEnd], node: str
    ) -> Steps[tuple[dict[str, NodeEnd], tuple[str, ...]]]:
        """
        Read what *node* may see of *reads*, and which of them had not ended for it.

        Raises:
            TemplateError: It is larger than what is read for one node.
        """
        elsewhere = [one for one in reads if one not in just_ended]
        found: dict[str, NodeEnd] = {}
        if elsewhere:
            nodes = f"{run_key(self.graph_id)}:nodes"
            fields = yield from hash_of(nodes, [*elsewhere, *([node] if node else [])])
            own = NodeField.parse(fields[node]).ready if node in fields and node else None
            ends = {one: past_node(fields.get(one), None, own) for one in elsewhere}
            outputs = yield from past_outputs(self.graph_id, [one for one, end in ends.items() if end is not None])
            for one, end in ends.items():
                if end is not None:
                    found[one] = replace(end, output=loads(outputs[one])) if one in outputs else end
        past = {}
        for one in reads:
            if one in just_ended:
                past[one] = self.local[one].seen if one in self.local else just_ended[one]
            else:
                past[one] = found.get(one, NodeEnd(""))
        return past, tuple(one for one in elsewhere if one not in found)


def _output_of_end(led: Sequence[str], past: Mapping[str, NodeEnd]) -> Any:
    """Make the output of an end of what led to it; None if nothing did, or it is none."""
    if len(led) < 2:
        return past[led[0]].output if led else None
    return {name: past[name].output for name in led}


def _end_of(line: bytes) -> tuple[str, NodeEnd]:
    """Read what a script tells of a node that has ended in its very call: an output that it has made, or none."""
    node, status, output = line.split(b"\t", 2)
    return node.decode(), NodeEnd(status.decode(), loads(output) if output else None)


def past_node(field: bytes | None, output: bytes | None, ready: int | None) -> NodeEnd | None:
    """Read a past node; None if it has not ended, or not before *ready*."""
    if field is None:
        return None
    node = NodeField.parse(field)
    if node.status not in ENDED or (ready is not None and node.ended > ready):
        return None
    return NodeEnd(node.status, loads(output) if output is not None else None, node.error or "")


def decided_of(graph_id: str, node: str, kind: str, judged: Judgement, assumed: tuple[str, ...] = ()) -> Decided:
    """Write a judgement as scripts are told of it."""
    completed = judged.status == "completed"
    output = dumps(judged.output) if completed else b""
    metadata: dict[str, Any] = {"mode": kind}
    if not completed:
        metadata["error_code"] = judged.code
    data: dict[str, Any] = {"mode": kind}
    if isinstance(judged.output, dict) and "target" in judged.output and kind == "router":
        data["next_node"] = judged.output["target"]
    tail = b""
    if completed and (kind == "router" or len(output) <= TOLD_AGAIN):
        mirror, tail = completed_mirror(graph_id, node, data)
    else:
        why = sized(output) if completed else {"error": judged.error, "error_code": judged.code}
        mirror = mirrored(f"node.{judged.status}", graph_id, node, {"output": None, **why, **data})
    data |= sized(output) if completed else {"error": judged.error, "error_code": judged.code}
    return Decided(
        node=node,
        status=judged.status,
        took=judged.took,
        output=output,
        rest=rest_of(judged.error, metadata),
        data=dumps(data),
        stream=COMPLETED_STREAM if completed else FAILED_STREAM,
        mirror=mirror,
        tail=tail,
        assumed=assumed,
        events=tuple(("edge.error", dumps(error.as_json())) for error in judged.errors),
        value=judged.output,
        error=judged.error,
    )


def sized(output: bytes) -> dict[str, Any]:
    """Say in the log how large an output is; readers lay small ones in."""
    return {"output_bytes": len(output)}


__all__ = ["SMALL", "Deciding", "Render", "decided_of", "past_node", "sized"]
