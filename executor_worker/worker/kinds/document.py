"""
Items of graphs that others schedule: two streams, a state document a graph, a result event a node.

What only some of them need is in `document_cases.py`; how a commit is drawn up anew in `document_draft.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from executor_worker.broker import COMPLETED_STREAM, STATE_PREFIX, Claim, DocumentCommit, JournalKeys
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.queues import ranked
from executor_worker.envelopes.events import completed_event, node_entry
from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.envelopes.work_item import Item, UnreadableItem, decode
from executor_worker.errors import InvalidNode, StateInvalid, StateMissing
from executor_worker.graph.parts import Retry
from executor_worker.graph.state import GraphState, is_cancelled, splice_node
from executor_worker.nodes.executor import Task
from executor_worker.outcome import Failed
from executor_worker.worker.journal import LAST_RECORD
from executor_worker.worker.kinds import foreign_router
from executor_worker.worker.kinds.document_cases import (
    Read,
    no_config,
    read_foreign,
    read_retry,
    repeats_in_s,
    settled_before,
    unfinished,
)
from executor_worker.worker.kinds.document_draft import ROUTER, RareDraft
from executor_worker.worker.kinds.kind import Draft, Kind
from executor_worker.worker.limits import Limits, check_named_limits, own_timeout
from executor_worker.worker.poisoned import answer_of_history
from executor_worker.worker.stages import Conclusion, Decision, Run, Stamp, Work

TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(slots=True)
class DocumentWork(Work):
    """
    An item and its graph's document.

    Attributes:
        item: The decoded item; None if it could not be decoded.
        unreadable: Why not.
        state: The graph's document as it was read; None if there is none.
        graph: What it says, if that can be read.
        keep_state: The state can't or must not be written.
        retry: The node's own policy; None if it has none.
        repeats: How often the item was given back to be run again by it.
    """

    item: Item | None = None
    unreadable: UnreadableItem | None = None
    state: bytes | None = None
    graph: GraphState | None = None
    keep_state: bool = False
    retry: Retry | None = None
    repeats: int = 0

    @property
    def run_key(self) -> str:
        """Each attempt is a run of its own: it has a journal, and its calls have keys."""
        name = self.work_id or f"{self.held.stream}/{self.held.entry}"
        return f"{name}#{self.repeats + 1}" if self.repeats else name


class DocumentKind(Kind[DocumentWork]):
    """
    Args:
        ttl_s: Of the state and of journals.
        insist: Reads until Redis answers, or until it is time to give up.
        queues: That it is read from, in order of preference.
    """

    def __init__(
        self,
        limits: Limits,
        ttl_s: int,
        insist: Callable[[Read], bytes | None] = lambda read: read(),
        queues: Sequence[str] = (DEFAULT,),
    ) -> None:
        self.source = replace(DOCUMENTS, streams=(), ranked=ranked(queues))
        self._limits = limits
        self._ttl_s = ttl_s
        self._insist = insist

    def begin(self, claim: Claim, taken_at: float, began: float) -> DocumentWork:
        return DocumentWork(claim, claim.held, claim.held.attempt, taken_at, began)

    # -- read ---------------------------------------------------------------------------------------

    def read(self, work: DocumentWork) -> None:
        self._decode(work)
        if not (work.graph_id and work.node_id):
            work.keep_state = True
        if work.graph_id:
            work.watched = STATE_PREFIX + work.graph_id
        if work.keep_state:
            return
        key, state, *repeats = work.claim.delivery.brought or (b"", None)
        work.repeats = int(repeats[0]) if repeats else 0
        if key == work.watched.encode():
            work.state = state
        else:
            work.state = self._insist(lambda: work.claim.state(work.watched))
        if work.state is None and work.node_type == ROUTER:
            read_foreign(work, self._insist)

    def _decode(self, work: DocumentWork) -> None:
        data = work.claim.delivery.data
        try:
            if data is None:
                raise UnreadableItem("the entry has no field `data`; it must hold one field of that name with JSON")
            item = decode(data, self._limits.max_item_bytes)
        except UnreadableItem as error:
            work.unreadable = error
            work.graph_id, work.node_id = error.graph_id, error.node_id
            work.execution_id = error.execution_id or error.graph_id
            return
        work.item = item
        work.graph_id, work.node_id = item.graph_id, item.node_id
        work.node_type, work.execution_id = item.node_type, item.execution_id
        work.work_id, work.deadline = item.work_id, item.deadline
        work.traceparent, work.tracestate = item.traceparent, item.tracestate

    # -- decide -------------------------------------------------------------------------------------

    def decide(self, work: DocumentWork, failure_code: str) -> Decision:
        item = work.item
        if item is None:
            assert work.unreadable is not None
            work.keep_state = work.keep_state or work.state is None
            return Conclusion(Failed.of(work.unreadable), "invalid_item")
        state, broken = work.graph, None
        if work.state is not None:
            try:
                state = work.graph = GraphState.parse(work.state)
            except StateInvalid as error:
                broken = error
        work.config = item.config if item.config is not None or state is None else state.config_of(item.node_id)
        if work.config is None and state is not None and item.node_type == ROUTER:
            work.config = foreign_router.config_on_node(state, item.node_id)
        if state is not None and item.node_id in state.nodes and settled_before(work.claim, item, state):
            return Conclusion(None)
        if broken is not None or (state is None and item.given_inputs is None):
            work.keep_state = True
        wrong = read_retry(work) if work.config and "retry" in work.config else ""
        if failure_code or work.attempt - work.repeats > self._limits.max_deliveries:
            answer = answer_of_history(work.attempt - work.repeats, failure_code, self._limits)
            if answer is not None:
                return answer
        if broken is not None:
            raise broken
        if wrong:
            raise InvalidNode(wrong)
        return self._decide_by_state(work, item, state, work.taken_at)

    def _decide_by_state(self, work: DocumentWork, item: Item, state: GraphState | None, now: float) -> Decision:
        if state is not None and state.status in TERMINAL:
            # What the node had done before its graph ended stays as it is.
            work.keep_state = state.finished(item.node_id)
            return Conclusion(Failed(f"the graph is {state.status}; its node was not run", "cancelled"))
        if state is None and item.given_inputs is None:
            advice = 'add "inputs" to the item ({} will do), or store the state first'
            raise StateMissing(f"there is no state {work.watched} and the item brings no inputs: {advice}")
        limit = self._limits.node_timeout_s
        left = limit if item.deadline is None else min(limit, item.deadline - now)
        if left <= 0:
            return Conclusion(Failed("the item's deadline had passed before it was run", "node_timeout"))
        config = work.config
        if config is None:
            no_config(work, state)
        if "limit" in config:
            check_named_limits(config, self._limits)
        if "timeout" in config:
            left = min(left, own_timeout(config))
        return Run(_task(item, config, state), left)

    def give_up(self, work: DocumentWork, error: str) -> Conclusion:
        if work.item is not None:
            return Conclusion(Failed(error, "internal"))
        work.keep_state = True
        return Conclusion(Failed(error, "internal"), "invalid_item")

    # -- run ----------------------------------------------------------------------------------------

    def journal(self, work: DocumentWork) -> JournalKeys:
        return work.claim.journal(ttl_s=self._ttl_s)

    def is_cancelled(self, work: DocumentWork) -> bool:
        document = work.claim.state(work.watched)
        return bool(document) and is_cancelled(document or b"")

    def repeats_in_s(self, work: DocumentWork, conclusion: Conclusion) -> float | None:
        return repeats_in_s(work, conclusion)

    # -- commit -------------------------------------------------------------------------------------

    def draft(self, work: DocumentWork, conclusion: Conclusion, stamp: Stamp) -> Draft:
        return _DocumentDraft(work, conclusion, stamp, self._ttl_s)


def _task(item: Item, config: dict[str, Any], state: GraphState | None) -> Task:
    given = item.given_inputs or {}
    if state is None:
        task = Task(item.graph_id, item.node_id, item.node_type, config, {**given}, {})
    else:
        inputs = {**state.inputs, **given}
        task = Task(item.graph_id, item.node_id, item.node_type, config, inputs, state.outputs)
        if len(state.outputs) < len(state.nodes):
            task.unfinished = unfinished(state)
    if item.node_type == ROUTER and not config.get("tool_name"):
        task.rules = foreign_router.rules(item, state)
        task.further = {"state": task.rules["state"]}
    return task


class _DocumentDraft(RareDraft):
    """One conclusion's commit, drawn up anew for each state it has to go into."""

    def __init__(self, work: DocumentWork, conclusion: Conclusion, stamp: Stamp, ttl_s: int) -> None:
        self.conclusion = conclusion
        self._work = work
        self._stamp = stamp
        self._ttl_s = ttl_s
        self._entry: dict[str, object] | None = None
        self._events = None
        self._current = work.state
        self._read, self._graph = work.state, work.graph

    def commit(self) -> DocumentCommit:
        # Both may be wrong, one after the other: the output first, then the state.
        for _ in range(2):
            try:
                return self._commit()
            except StateInvalid as error:
                self._work.keep_state = True
                self._fail(str(error), "state_invalid")
            except ValueError as error:
                code = "tool_failed" if self._work.mode == "tool" else "llm_bad_response"
                self._fail(f"the node's output can't be written as JSON: {error}", code)
        return self._commit()

    def _commit(self) -> DocumentCommit:
        work, conclusion, events = self._work, self.conclusion, self._events
        failed = isinstance(conclusion.outcome, Failed)
        if events is None:
            self._entry, events = self._node_entry(), self._draw_events()
            self._events = events
        expected, document = self._document()
        # The item may be put up again later if its state says that the node has failed.
        is_kept = failed and work.item is not None and not work.keep_state
        return DocumentCommit(
            state_key=work.watched or None,
            expected=expected,
            document=document,
            ttl_s=self._ttl_s,
            events=events,
            failure=failed,
            dead=self._dead() if conclusion.dead_reason is not None else None,
            dead_stream=self._letters() if conclusion.dead_reason is not None else "",
            journal=conclusion.journal,
            last_record=LAST_RECORD,
            force=self.forced,
            graph_id=work.graph_id,
            failed_node=work.node_id if is_kept else "",
        )

    def _document(self) -> tuple[bytes | None, bytes]:
        """The state's expected value (None: leave it alone) and its new one."""
        work, current, entry = self._work, self._current, self._entry
        if work.keep_state or entry is None:
            return None, b""
        if current is None:
            return b"", self._new_document(entry)
        graph = self._graph
        if graph is None or current is not self._read:
            graph = self._parsed(current)
        return GraphState.digest(current), splice_node(current, work.node_id, entry, graph)

    def _node_entry(self) -> dict[str, object] | None:
        work, stamp, outcome = self._work, self._stamp, self.conclusion.outcome
        if outcome is None:
            return None
        metadata = {**stamp.facts, "entry": work.held.entry, "delivery": work.held.count}
        if work.work_id:
            metadata["work_id"] = work.work_id
        return node_entry(
            node_id=work.node_id,
            outcome=outcome,
            started_at=work.taken_at,
            completed_at=stamp.now,
            metadata=metadata,
        )

    def _draw_events(self) -> list[tuple[str, bytes]]:
        work, stamp, outcome = self._work, self._stamp, self.conclusion.outcome
        if outcome is None or not (work.graph_id and work.node_id):
            return []
        facts = {**outcome.detail, **stamp.facts}
        if isinstance(outcome, Failed):
            return self._failed_events(outcome, facts)
        if outcome.mode == ROUTER:
            return self._routed_events(outcome, facts)
        graph_id, execution_id = work.graph_id, work.execution_id or work.graph_id
        completed = completed_event(graph_id, execution_id, work.node_id, outcome.output, facts, stamp.now)
        return [(COMPLETED_STREAM, completed)]
