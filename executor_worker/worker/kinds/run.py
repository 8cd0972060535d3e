"""
Nodes of runs, which we schedule ourselves: started in the step that takes them; the step that settles one does all that
follows from its end. What a run has left to do beyond one script comes as an item too.

What the settle script finds to be undecided (a router that needs no model, the run's own output) is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from executor_worker.broker import (
    Claim,
    JournalKeys,
    added_at,
)
from executor_worker.broker.graphs.deciding import Render
from executor_worker.broker.graphs.giving_up import Damage
from executor_worker.broker.graphs.requests import drive
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.graphs.taken import TakenNode, TakenStep, read_on, taken_of
from executor_worker.broker.names import run_journal, run_key
from executor_worker.broker.queue.queues import ranked
from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.errors import Abandoned, StateInvalid
from executor_worker.graph.mappings import mapped_inputs
from executor_worker.json_text import dumps, loads
from executor_worker.nodes.executor import Task
from executor_worker.nodes.templates import Scope
from executor_worker.outcome import Failed, Mode
from executor_worker.worker.kinds.damaged import DamagedDraft
from executor_worker.worker.kinds.kind import Draft, Kind
from executor_worker.worker.kinds.run_draft import NodeDraft, StepDraft
from executor_worker.worker.limits import LONGEST_S, Limits, check_named_limits, own_timeout
from executor_worker.worker.poisoned import answer_of_history
from executor_worker.worker.stages import Conclusion, Decision, Run, Stamp, Work


@dataclass(slots=True)
class RunWork(Work):
    """
    An item of a run.

    Attributes:
        node: What was started in our name; None if it is a step.
        step: What is left to do; None if it is a node.
        damage: To the keys of its run, so that it could not be read; None if it could.
    """

    node: TakenNode | None = None
    step: TakenStep | None = None
    damage: Damage | None = None

    def last_attempt(self, conclusion: Conclusion) -> int:
        return self.attempt

    @property
    def queued_at(self) -> float | None:
        return added_at(self.held.entry) if self.held.count == 1 else None

    @property
    def mode(self) -> Mode | None:
        return "router" if self.node_type == "router" else super(RunWork, self).mode

    @property
    def run_key(self) -> str:
        epoch = self.node.epoch if self.node is not None else 0
        return f"{self.graph_id}/{self.node_id}/{epoch}.{self.attempt}"

    @property
    def journal_key(self) -> str:
        epoch = self.node.epoch if self.node is not None else 0
        return run_journal(self.graph_id, self.node_id, epoch, self.attempt)


class RunKind(Kind[RunWork]):
    """
    Args:
        render: Renders a run's `output` template.
        queues: That it is read from, in order of preference.
        node_timeout_s: Of a node that names none; 0: as for all items.
    """

    def __init__(
        self,
        limits: Limits,
        ttl_s: int,
        render: Render,
        queues: Sequence[str] = (DEFAULT,),
        node_timeout_s: float = 0.0,
    ) -> None:
        self._node_timeout_s = node_timeout_s or limits.node_timeout_s
        self.source = replace(RUNS, streams=(), ranked=ranked(queues))
        self._limits = limits
        self._ttl_s = ttl_s
        self._render = render

    def begin(self, claim: Claim, taken_at: float, began: float) -> RunWork:
        return RunWork(claim, claim.held, claim.held.attempt, taken_at, began)

    def read(self, work: RunWork) -> None:
        brought = work.claim.delivery.brought
        if brought[0] == b"version":
            raise Abandoned("its run is kept in a form that a newer version reads")
        if brought[0] == b"damaged":
            _note_damage(work, brought[2], brought[3].decode("utf-8", "backslashreplace"))
            return
        taken = taken_of(brought)
        work.graph_id = work.execution_id = taken.graph_id
        work.watched = run_key(taken.graph_id)
        if isinstance(taken, TakenStep):
            work.step, work.is_upkeep = taken, True
            return
        work.node, plan = taken, taken.plan
        work.attempt = taken.attempt  # a delivery is none: attempts are counted by the run
        work.node_id, work.node_type, work.config = taken.node, plan.type, plan.config
        work.traceparent, work.tracestate, work.gap_s = taken.traceparent, taken.tracestate, taken.gap_s

    def decide(self, work: RunWork, failure_code: str) -> Decision:
        if work.damage is not None:
            return Conclusion(Failed(work.damage.error, StateInvalid.code))
        if work.node is None:
            return Conclusion(None)
        answer = answer_of_history(work.held.attempt, failure_code, self._limits)
        if answer is not None:
            return answer
        if work.node.unread:
            reading = read_on(work.node)
            work.claim.ask(lambda link: drive(link, reading))
        plan = work.node.plan
        check_named_limits(plan.config, self._limits)
        named_s = min(plan.timeout_s or LONGEST_S, own_timeout(plan.config))
        seconds = named_s if named_s < LONGEST_S else self._node_timeout_s
        return Run(_task(work.node), min(seconds, self._limits.node_timeout_s))

    def give_up(self, work: RunWork, error: str) -> Conclusion:
        brought = work.claim.delivery.brought
        if work.node is None and brought[0] == b"node":
            _note_damage(work, dumps(brought[2].decode()), error)
            return Conclusion(Failed(error, StateInvalid.code))
        if work.node is None:
            raise Abandoned(error)  # nothing can be told of it
        return Conclusion(Failed(error, "internal"))

    def journal(self, work: RunWork) -> JournalKeys:
        return work.claim.journal(ttl_s=self._ttl_s, run=(work.watched, work.node_id))

    def is_cancelled(self, work: RunWork) -> bool:
        return bool(work.claim.ask(lambda link: link.call("HGET", work.watched, "stopping")))

    def draft(self, work: RunWork, conclusion: Conclusion, stamp: Stamp) -> Draft:
        if work.damage is not None:
            return DamagedDraft(work, work.damage)
        if work.step is not None:
            return StepDraft(work, work.step, self._render, self._ttl_s)
        assert work.node is not None
        return NodeDraft(work, work.node, conclusion, stamp, self._render)


def _note_damage(work: RunWork, node: bytes, said: str) -> None:
    work.graph_id = work.execution_id = work.claim.delivery.brought[1].decode()
    work.node_id, work.watched, work.damage = loads(node), run_key(work.graph_id), Damage(said)


def _task(node: TakenNode) -> Task:
    """Prepare a node of a run: all that it needs came along."""
    plan, seen = node.plan, node.seen
    outputs = {name: one.output for name, one in seen.past.items()}
    further = {"state": seen.state()}
    inputs, absent = dict(seen.inputs), seen.absent()
    if plan.input_mapping:
        inputs = mapped_inputs(plan.input_mapping, inputs, Scope(inputs, outputs, further=further, absent=absent))
    return Task(
        graph_id=node.graph_id,
        node_id=node.node,
        node_type=plan.type,
        config=plan.config,
        inputs=inputs,
        outputs=outputs,
        further=further,
        message=_message(node, inputs) if plan.sources else None,
        absent=absent,
        rules=seen.rules() if plan.type == "router" else None,
    )


def _message(node: TakenNode, inputs: dict[str, Any]) -> dict[str, Any]:
    """Write the message for an agent without a task: the inputs, and the outputs of those that led to it."""
    led = [source for source, at in node.plan.sources if _led(node.took.get(source, "-"), at)]
    return {"inputs": inputs, **{source: node.seen.past[source].output for source in led}}


def _led(took: str, at: int) -> bool:
    return took == "*" or took[at : at + 1] == "1"
