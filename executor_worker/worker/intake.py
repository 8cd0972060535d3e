"""
From a taken entry to a ticket: what is to be run, or what is to be answered at once.

Nothing that arrives may stop a worker: whatever is wrong with an item, its state or its history
becomes the ticket's outcome here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from executor_worker.broker import JOURNAL_PREFIX, STATE_PREFIX, Held, Taken
from executor_worker.broker.graphs.taken import TakenNode
from executor_worker.broker.names import run_journal, run_key
from executor_worker.envelopes.work_item import Item, UnreadableItem, decode
from executor_worker.errors import InvalidNode, NodeError, Poisoned, StateInvalid, StateMissing, StreamError
from executor_worker.graph.mappings import mapped_inputs
from executor_worker.graph.state import GraphState
from executor_worker.nodes.executor import Task
from executor_worker.nodes.spec import mode_of
from executor_worker.nodes.templates import Scope
from executor_worker.outcome import Failed, Mode, Outcome
from executor_worker.telemetry import logs
from executor_worker.telemetry.tracing import Delivery

LONGEST_S = 1e9
TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What every item is held to; seconds and bytes."""

    node_timeout_s: float
    max_deliveries: int
    max_item_bytes: int


@dataclass(slots=True)
class Ticket:
    """
    One item on its way through the worker.

    Attributes:
        held: The entry, and which delivery of it this is.
        data: The entry's `data` as it came.
        taken_at: When it was, in seconds since the epoch.
        began: The same by the clock that never jumps.
        fields: The whole entry where it has no `data`: all there is to keep.
        item: The decoded item; None where it could not be decoded.
        config: The node's, from the item or from the graph; None where neither has one.
        state: The graph's document as it was read; None where there is none.
        graph: What it says, where that can be read.
        task: What to run; None where `outcome` or `repeat` says why not.
        outcome: What came of it.
        seconds: How long it may run.
        dead_reason: Set where the item goes to the dead-letter stream as well.
        repeat: Its node has this very item's result already: acknowledge, nothing else.
        keep_state: The state can't or must not be written.
        journal: The key under which its run was written down; None where it was not.
        refused: How often its model call was refused in runs that were given back for that.
        run: Its node in a run of ours; None for any other item.
    """

    held: Held
    data: bytes
    taken_at: float
    graph_id: str = ""
    node_id: str = ""
    node_type: str = ""
    execution_id: str = ""
    fields: Mapping[bytes, bytes] | None = None
    item: Item | None = None
    config: dict[str, Any] | None = None
    state: bytes | None = None
    graph: GraphState | None = None
    task: Task | None = None
    outcome: Outcome | None = None
    seconds: float = 0.0
    dead_reason: str | None = None
    repeat: bool = False
    keep_state: bool = False
    journal: str | None = None
    refused: int = 0
    began: float = 0.0
    run: TakenNode | None = None

    @property
    def state_key(self) -> str | None:
        """What tells whether it is still wanted: its graph's document, of a run's node the run's head."""
        if self.run is not None:
            return run_key(self.graph_id)
        return STATE_PREFIX + self.graph_id if self.graph_id else None

    @property
    def label(self) -> str:
        """What people are shown: graph and node."""
        return f"{self.graph_id or '?'}/{self.node_id or '?'}"

    @property
    def mode(self) -> Mode | None:
        """The mode its config asks for; for answers given without running it."""
        if self.config is not None:
            with suppress(NodeError):
                return mode_of(self.config)
        return None

    @property
    def run_key(self) -> str:
        """Names the item over all its runs: the envelope's id, else its place in the stream."""
        if self.run is not None:
            return f"{self.graph_id}/{self.node_id}/{self.run.epoch}.{self.run.attempt}"
        work_id = self.item.work_id if self.item is not None else None
        return work_id or f"{self.held.stream}/{self.held.entry}"

    @property
    def journal_key(self) -> str:
        """Where its run is written down."""
        if self.run is not None:
            return run_journal(self.graph_id, self.node_id, self.run.epoch, self.run.attempt)
        return JOURNAL_PREFIX + self.run_key

    @property
    def attempt(self) -> int:
        """Which attempt this is, as results tell it: of a run's node a delivery is none."""
        return self.held.attempt if self.run is None else self.run.attempt

    @property
    def delivery(self) -> Delivery:
        """What its span begins with."""
        held = self.held
        return Delivery(
            stream=held.stream,
            entry=held.entry,
            consumer=held.consumer,
            count=held.count,
            attempt=self.attempt,
            taken_at=self.taken_at,
            size=len(self.data),
            graph_id=self.graph_id,
            node_id=self.node_id,
            execution_id=self.execution_id,
            traceparent=self.item.traceparent if self.item is not None else None,
            tracestate=self.item.tracestate if self.item is not None else None,
        )


def open_node(ticket: Ticket, run: TakenNode, limit_s: float) -> None:
    """Prepare a node of a run: all that it needs came along."""
    plan, seen = run.plan, run.seen
    ticket.run, ticket.keep_state = run, True
    ticket.graph_id = ticket.execution_id = run.graph_id
    ticket.node_id, ticket.node_type, ticket.config = run.node, plan.type, plan.config
    outputs = {name: one.output for name, one in seen.past.items()}
    further = {"state": seen.state()}
    inputs = dict(seen.inputs)
    if plan.input_mapping:
        inputs = mapped_inputs(plan.input_mapping, inputs, Scope(inputs, outputs, further=further))
    ticket.task = Task(
        graph_id=run.graph_id,
        node_id=run.node,
        node_type=plan.type,
        config=plan.config,
        inputs=inputs,
        outputs=outputs,
        further=further,
        message=_message(run, inputs) if plan.sources else None,
    )
    ticket.seconds = min(limit_s, plan.timeout_s or limit_s, _own_timeout(plan.config))


def _message(run: TakenNode, inputs: dict[str, Any]) -> dict[str, Any]:
    """What an agent without a task is told: the inputs and the outputs of those that led to it."""
    led = [source for source, at in run.plan.sources if _led(run.took.get(source, "-"), at)]
    return {"inputs": inputs, **{source: run.seen.past[source].output for source in led}}


def _led(took: str, at: int) -> bool:
    return took == "*" or took[at : at + 1] == "1"


class Intake:
    """
    Args:
        read_state: Reads a graph's document by its key, for takes that did not bring it along.
        wall, clock: Seconds since the epoch, monotonic seconds.
    """

    def __init__(
        self,
        limits: Limits,
        read_state: Callable[[str], bytes | None],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._read_state = read_state
        self._wall = wall
        self._clock = clock

    def open(self, taken: Taken, verdict: str = "") -> Ticket:
        """
        Make *taken* a ticket.

        Args:
            verdict: Error code under which the worker that held this entry before was ended, "" where it was not.

        Raises:
            StreamUnavailable: The state could not be read; the item stays held.
        """
        ticket = Ticket(taken.held, taken.data or b"", self._wall(), refused=taken.refused, began=self._clock())
        try:
            if isinstance(taken.run, TakenNode):
                open_node(ticket, taken.run, self._limits.node_timeout_s)
                self._judge_history(ticket, verdict)
                return ticket
            self._decode(ticket, taken)
            self._read(ticket, taken)
            self._judge(ticket, verdict, taken.row_lost)
        except NodeError as error:
            ticket.outcome = Failed.of(error)
        except StreamError:
            raise
        except Exception as error:  # noqa: BLE001 - else the item would end one worker after the other
            self._answer_for(ticket, error)
        return ticket

    def _answer_for(self, ticket: Ticket, error: Exception) -> None:
        """What nobody has thought of is an answer too; what could not even be read is kept."""
        logs.error("intake.broke", entry=ticket.held.entry, error=type(error).__name__)
        said = f"the item could not be prepared: there was an unexpected {type(error).__name__}"
        ticket.task, ticket.outcome = None, Failed(said, "internal")
        if ticket.item is None:
            ticket.dead_reason, ticket.keep_state = "invalid_item", True

    def _decode(self, ticket: Ticket, taken: Taken) -> None:
        try:
            if taken.data is None:
                raise UnreadableItem("the entry has no field `data`; it must hold one field of that name with JSON")
            item = decode(taken.data, self._limits.max_item_bytes)
        except UnreadableItem as error:
            ticket.dead_reason = "invalid_item"
            ticket.fields = taken.fields if taken.data is None else None
            ticket.graph_id = error.graph_id
            ticket.node_id = error.node_id
            ticket.execution_id = error.execution_id or error.graph_id
            ticket.outcome = Failed.of(error)
            return
        ticket.item = item
        ticket.graph_id, ticket.node_id = item.graph_id, item.node_id
        ticket.node_type, ticket.execution_id = item.node_type, item.execution_id

    def _read(self, ticket: Ticket, taken: Taken) -> None:
        key = ticket.state_key
        if key is None or not ticket.node_id:
            ticket.keep_state = True
        elif taken.state_key == key:
            ticket.state = taken.state
        else:
            ticket.state = self._read_state(key)

    def _judge(self, ticket: Ticket, verdict: str, row_lost: bool) -> None:
        """Decide whether the item runs; the first reason not to is its answer."""
        if ticket.outcome is not None:
            ticket.keep_state = ticket.keep_state or ticket.state is None
            return
        item = ticket.item
        assert item is not None
        state, broken = _parse(ticket.state)
        ticket.graph = state
        ticket.config = item.config if item.config is not None or state is None else state.config_of(item.node_id)
        if state is not None and _settled_before(ticket.held, item, state, row_lost):
            ticket.repeat = True
            return
        if broken is not None or (state is None and item.given_inputs is None):
            ticket.keep_state = True
        self._judge_history(ticket, verdict)
        if ticket.outcome is None:
            self._judge_state(ticket, item, state, broken)

    def _judge_history(self, ticket: Ticket, verdict: str) -> None:
        if verdict:
            ticket.outcome = Failed(VERDICTS.get(verdict, VERDICT_ELSE), verdict)
        elif ticket.held.attempt > self._limits.max_deliveries:
            ticket.dead_reason = "poisoned"
            ticket.outcome = Failed.of(
                Poisoned(f"{_said(ticket.held.attempt - 1)} with its worker; it is kept in the dead-letter stream")
            )

    def _judge_state(self, ticket: Ticket, item: Item, state: GraphState | None, broken: StateInvalid | None) -> None:
        if broken is not None:
            raise broken
        if state is not None and state.status in TERMINAL:
            ticket.outcome = Failed(f"the graph is {state.status}; its node was not run", "cancelled")
            # What the node had done before its graph ended stays as it is.
            ticket.keep_state = state.finished(item.node_id)
            return
        if state is None and item.given_inputs is None:
            raise StateMissing(
                f"there is no state {STATE_PREFIX}{item.graph_id} and the item brings no inputs; store the state first"
            )
        left = self._seconds_left(item)
        if left <= 0:
            ticket.outcome = Failed("the item's deadline had passed before it was run", "node_timeout")
            return
        config = _config(ticket, state)
        ticket.task = Task(
            graph_id=item.graph_id,
            node_id=item.node_id,
            node_type=item.node_type,
            config=config,
            inputs={**(state.inputs if state is not None else {}), **(item.given_inputs or {})},
            outputs=state.outputs if state is not None else {},
            unfinished=_unfinished(state),
        )
        ticket.seconds = min(left, _own_timeout(config))

    def _seconds_left(self, item: Item) -> float:
        limit = self._limits.node_timeout_s
        return limit if item.deadline is None else min(limit, item.deadline - self._wall())


def _said(runs: int) -> str:
    return f"the item was run {runs} times and each run ended" if runs > 1 else "the item's only run ended"


VERDICTS: Mapping[str, str] = {
    "node_timeout": "the node did not end within its time and could not be interrupted; its worker was ended",
    "cancelled": "the graph was cancelled; the node could not be interrupted, its worker was ended",
    "tool_timeout": "the tool did not end within its time and could not be interrupted; its worker was ended",
}
VERDICT_ELSE = "the worker that ran the node had to be ended"


def _parse(raw: bytes | None) -> tuple[GraphState | None, StateInvalid | None]:
    if raw is None:
        return None, None
    try:
        return GraphState.parse(raw), None
    except StateInvalid as error:
        return None, error


def _config(ticket: Ticket, state: GraphState | None) -> dict[str, Any]:
    if ticket.config is not None:
        return ticket.config
    if state is None:
        raise StateMissing(f"the item brings no config and there is no state {ticket.state_key} to find it in")
    raise InvalidNode(f"the item brings no config and the graph has no node {ticket.node_id!r} with one")


def _settled_before(held: Held, item: Item, state: GraphState, row_lost: bool) -> bool:
    """Tell whether the node has this very item's result, also where it came late and somebody else had settled it."""
    if item.work_id and state.finished_work_id(item.node_id) == item.work_id:
        return True
    return row_lost and (state.metadata(item.node_id) or {}).get("entry") == held.entry


def _unfinished(state: GraphState | None) -> dict[str, str]:
    """Status by id of the nodes that have no output."""
    if state is None:
        return {}
    waiting = {node: entry for node, entry in state.nodes.items() if node not in state.outputs}
    statuses = {node: entry.get("status") for node, entry in waiting.items() if isinstance(entry, dict)}
    return {node: status if isinstance(status, str) else "" for node, status in statuses.items()}


def _own_timeout(config: dict[str, Any]) -> float:
    """The node's own limit in seconds, infinite where it names none; a wrong one is the spec's to refuse."""
    value = config.get("timeout")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LONGEST_S:
        return float("inf")
    return float(value)
