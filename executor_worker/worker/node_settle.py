"""
From the outcome of a run's node to one commit: its end, the edges it takes, and whatever follows from that.

What a script finds to be undecided (a router that needs no model, the run's own output) is decided here and the commit
tried again; where no reply came it is repeated until one does, and finds its own commit if it was made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, Consumer, Held
from executor_worker.broker.connection.advice import advice_of
from executor_worker.broker.graphs.deciding import Deciding, Render, sized
from executor_worker.broker.graphs.records import Decided, mirrored, rest_of
from executor_worker.broker.graphs.settling import NodeCommit, RunSettled
from executor_worker.broker.graphs.stepping import step as go_on
from executor_worker.broker.graphs.taken import TakenNode, TakenStep
from executor_worker.errors import StreamError, StreamRefused, TemplateError
from executor_worker.graph.judging import NONE, EdgeError, edges_taken
from executor_worker.graph.mappings import mapped_output
from executor_worker.json_text import dumps
from executor_worker.outcome import Completed, Failed, Outcome
from executor_worker.telemetry import logs
from executor_worker.worker.intake import Ticket
from executor_worker.worker.result import Result


class NodeSettler:
    """
    Args:
        pause: Called after each lost reply with the number of tries so far; waits, and answers False to give up.
        render: Renders a run's `output` template.
    """

    def __init__(self, consumer: Consumer, worker_id: str, pause: Callable[[int], bool], render: Render) -> None:
        self._consumer = consumer
        self._worker_id = worker_id
        self._pause = pause
        self._render = render

    def settle(
        self, ticket: Ticket, facts: Mapping[str, Any], letter: dict[str, bytes | str], take_next: Callable[[], bool]
    ) -> Result:
        """
        Commit *ticket*'s outcome, and take the next item in the same step where *take_next* still wants one.

        Args:
            facts: What result and state both say of the attempt.
            letter: The dead letter's fields; empty where it is none.

        Raises:
            StreamError: `pause` gave up; whether it was committed is unknown.
        """
        run, outcome = ticket.run, ticket.outcome
        assert run is not None
        assert outcome is not None
        decided = self._decided(run, outcome, {**facts, "delivery": ticket.held.count})
        commit = NodeCommit(run.graph_id, run.node, run.epoch, run.attempt, decided, letter=letter)
        if (
            isinstance(outcome, Failed)
            and run.plan.retry is not None
            and run.plan.retry.repeats(outcome.code, run.attempt)
        ):
            self._repeat(commit, run, outcome)
        deciding = Deciding(run.graph_id, self._render, local={run.node: decided})
        tries, refused = 0, False
        while True:
            try:
                commit.more = deciding.words()
                ending, missing, upcoming = self._consumer.settle_run(ticket.held, commit, take_next=take_next())
                if ending is RunSettled.judge:
                    self._consumer.ask(deciding.decide(missing))
                    continue
                return Result(ending is not RunSettled.fenced, late=ending is RunSettled.late, next=upcoming)
            except StreamError as error:
                if isinstance(error, StreamRefused) and not refused:
                    refused = True
                    logs.error("settle.refused", **advice_of(error, "the result waits until Redis takes it"))
                tries += 1
                if not self._pause(tries):
                    raise

    def go_on(self, held: Held, step: TakenStep) -> None:
        """
        Do the next part of what a run has left to do, and acknowledge that.

        Raises:
            StreamError: `pause` gave up.
        """
        tries = 0
        while True:
            try:
                return self._consumer.ask(go_on(step.graph_id, self._render, consumer=held.consumer, entry=held.entry))
            except StreamError:
                tries += 1
                if not self._pause(tries):
                    raise

    def _repeat(self, commit: NodeCommit, run: TakenNode, outcome: Failed) -> None:
        assert run.plan.retry is not None
        commit.delay_ms = round(run.plan.retry.wait_s(run.attempt, random.random()) * 1000)
        told = {
            "error": outcome.error,
            "error_code": outcome.code,
            "attempt": run.attempt + 1,
            "delay_ms": commit.delay_ms,
        }
        commit.decided.data = dumps(told)
        commit.letter = {}

    def _decided(self, run: TakenNode, outcome: Outcome, facts: Mapping[str, Any]) -> Decided:
        try:
            return decided_node(run, outcome, facts)
        except TemplateError as error:
            return decided_node(run, Failed(str(error), error.code, outcome.mode, outcome.usage), facts)
        except ValueError as error:
            code = "tool_failed" if outcome.mode == "tool" else "llm_bad_response"
            said = f"the node's output can't be written as JSON: {error}"
            return decided_node(run, Failed(said, code, outcome.mode, outcome.usage), facts)


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
    told = {"error": outcome.error, "error_code": outcome.code, **outcome.detail, **facts}
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
    output = dumps(value)
    told = {**outcome.detail, **facts}
    if run.plan.type == "router" and isinstance(value, dict):
        told["next_node"] = value.get("target")
    return Decided(
        node=run.node,
        status="completed",
        took=took,
        output=output,
        rest=rest_of(None, dict(facts)),
        data=dumps({**told, **sized(output)}),
        stream=COMPLETED_STREAM,
        mirror=mirrored("node.completed", run.graph_id, run.node, {"output": value, **told}),
        events=_told(errors),
        value=value,
    )


def _told(errors: list[EdgeError]) -> tuple[tuple[str, bytes], ...]:
    return tuple(("edge.error", dumps(error.as_json())) for error in errors)
