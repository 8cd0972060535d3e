"""Drafts of items of runs: the end of a node with the edges it takes, the next part of what a run has left to do."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, Settled, Settlement
from executor_worker.broker.graphs.deciding import Deciding, Render, sized
from executor_worker.broker.graphs.documents import write_document
from executor_worker.broker.graphs.giving_up import damage_of
from executor_worker.broker.graphs.records import Decided, completed_mirror, mirrored, rest_of
from executor_worker.broker.graphs.requests import drive
from executor_worker.broker.graphs.settling import NodeCommit, StepCommit
from executor_worker.broker.graphs.stepping import step
from executor_worker.broker.graphs.taken import TakenNode, TakenStep
from executor_worker.errors import NOT_RETRIABLE, StreamRefused, TemplateError
from executor_worker.graph.judging import NONE, EdgeError, edges_taken
from executor_worker.graph.mappings import mapped_output
from executor_worker.graph.reading import retry_of
from executor_worker.json_text import dumps
from executor_worker.outcome import Completed, Failed, Outcome
from executor_worker.worker.kinds.damaged import DamagedDraft
from executor_worker.worker.kinds.kind import Draft
from executor_worker.worker.kinds.telling import failed_instead, letter_of
from executor_worker.worker.stages import Conclusion, Stamp

if TYPE_CHECKING:
    from executor_worker.worker.kinds.run import RunWork


class StepDraft(Draft):
    """Does the next part of what a run has left to do."""

    def __init__(self, work: RunWork, step: TakenStep, render: Render, ttl_s: int) -> None:
        self._ttl_s = ttl_s
        self.conclusion = Conclusion(None)
        self._work = work
        self._claim = work.claim
        self._step = step
        self._render = render

    def commit(self) -> StepCommit:
        held, graph_id = self._claim.held, self._step.graph_id
        if self._step.what == "render":
            self._claim.ask(lambda link: drive(link, write_document(graph_id, self._ttl_s)))
            return StepCommit()
        steps = step(graph_id, self._render, consumer=held.consumer, entry=held.entry, count=held.count)
        self.ends += self._claim.ask(lambda link: drive(link, steps))
        return StepCommit()

    def heed(self, answer: Settlement) -> bool:
        return False

    def instead(self, error: StreamRefused) -> Draft | None:
        damage = damage_of(error, self._step.graph_id)
        return DamagedDraft(self._work, damage, self) if damage is not None else None


class NodeDraft(Draft):
    """The end of a node, the edges it takes, and whatever has to be decided before it can be written."""

    def __init__(self, work: RunWork, node: TakenNode, conclusion: Conclusion, stamp: Stamp, render: Render) -> None:
        self._work = work
        self._claim = work.claim
        self._commit = self._drawn_up(work, node, conclusion, stamp)
        self._node = node
        self._render = render
        self._deciding: Deciding | None = None

    def commit(self) -> NodeCommit:
        if self._deciding is not None:
            self._commit.more = self._deciding.words()
        return self._commit

    def heed(self, answer: Settlement) -> bool:
        if answer.ending is not Settled.judge:
            return False
        if self._deciding is None:
            ended = {self._node.node: self._commit.decided}
            self._deciding = Deciding(self._node.graph_id, self._render, local=ended)
        steps = self._deciding.decide(answer.seen)
        self._claim.ask(lambda link: drive(link, steps))
        return True

    def instead(self, error: StreamRefused) -> Draft | None:
        damage = damage_of(error, self._node.graph_id)
        return DamagedDraft(self._work, damage, self) if damage is not None else None

    def _drawn_up(self, work: RunWork, node: TakenNode, conclusion: Conclusion, stamp: Stamp) -> NodeCommit:
        self.conclusion = conclusion
        try:
            decided = self._decided(work, node, stamp)
        except TemplateError as error:
            self.conclusion = failed_instead(conclusion, str(error), error.code)
            decided = self._decided(work, node, stamp)
        except ValueError as error:
            code = "tool_failed" if work.mode == "tool" else "llm_bad_response"
            text = f"the node's output can't be written as JSON: {error}"
            self.conclusion = failed_instead(conclusion, text, code)
            decided = self._decided(work, node, stamp)
        letter = _letter(work, self.conclusion, stamp)
        commit = NodeCommit(node.graph_id, node.node, node.epoch, node.attempt, decided, letter=letter)
        outcome = self.conclusion.outcome
        own = outcome.retry if isinstance(outcome, Failed) else None
        retry = node.plan.retry or (retry_of(own) if own else None)
        if isinstance(outcome, Failed) and retry is not None and retry.repeats(outcome.code, node.attempt):
            commit.delay_ms = round(retry.wait_s(node.attempt, random.random()) * 1000)
            _repeat(commit, outcome)
        return commit

    def _decided(self, work: RunWork, node: TakenNode, stamp: Stamp) -> Decided:
        outcome = self.conclusion.outcome
        assert outcome is not None
        return decided_node(node, outcome, {**stamp.facts, "delivery": work.held.count})


def _letter(work: RunWork, conclusion: Conclusion, stamp: Stamp) -> dict[str, bytes | str]:
    letter = letter_of(work, conclusion, stamp)
    return {"data": work.claim.delivery.data or b"", **letter} if letter is not None else {}


def _repeat(commit: NodeCommit, outcome: Failed) -> None:
    """The node is run again after a while: another attempt, nothing else has ended."""
    told = {
        "error": outcome.error,
        "error_code": outcome.code,
        "attempt": commit.attempt + 1,
        "delay_ms": commit.delay_ms,
    }
    commit.decided.data = dumps(told)
    commit.letter = {}


def decided_node(run: TakenNode, outcome: Outcome, facts: Mapping[str, Any]) -> Decided:
    """
    Decide the edges of a node that a worker has run.

    Raises:
        TemplateError: Its mapping names what its output has not.
        ValueError: Its output is no JSON value.
    """
    if isinstance(outcome, Completed):
        return _completed(run, outcome, facts)
    status = "cancelled" if outcome.code == "cancelled" else "failed"
    took, errors = NONE, list[EdgeError]()
    if status == "failed" and run.plan.handled:
        took, errors = edges_taken(run.plan, run.node, status, None, run.seen, outcome.error)
    why = {"error": outcome.error, "error_code": outcome.code, "retriable": outcome.code not in NOT_RETRIABLE}
    told = {**why, **outcome.detail, **facts}
    return Decided(
        node=run.node,
        status=status,
        took=took,
        rest=rest_of(outcome.error, {**facts, "error_code": outcome.code}),
        data=dumps({**told, "handled": run.plan.handled}),
        stream=FAILED_STREAM,
        mirror=mirrored("node.failed", run.graph_id, run.node, {"output": None, **told}),
        events=_told(errors),
        error=outcome.error,
    )


def _completed(run: TakenNode, outcome: Completed, facts: Mapping[str, Any]) -> Decided:
    value = mapped_output(run.plan.output_mapping, outcome.output)
    took, errors = edges_taken(run.plan, run.node, "completed", value, run.seen)
    errors = [EdgeError(**one) for one in outcome.detail.get("edge_errors", ())] + errors
    output = dumps(value)
    told = {**{name: item for name, item in outcome.detail.items() if name != "edge_errors"}, **facts}
    if run.plan.type == "router" and isinstance(value, dict):
        told["next_node"] = value.get("target")
    mirror, tail = completed_mirror(run.graph_id, run.node, told)
    return Decided(
        node=run.node,
        status="completed",
        took=took,
        output=output,
        rest=rest_of(None, dict(facts)),
        data=dumps({**told, **sized(output)}),
        stream=COMPLETED_STREAM,
        mirror=mirror,
        tail=tail,
        events=_told(errors),
        value=value,
    )


def _told(errors: list[EdgeError]) -> tuple[tuple[str, bytes], ...]:
    return tuple(("edge.error", dumps(error.as_json())) for error in errors)
