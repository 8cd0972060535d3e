"""
Items of graphs that others schedule: two streams, a state document a graph, a result event a node.

If the state changed meanwhile, the node's entry is laid into the newer document and the commit is tried again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from executor_worker.broker import (
    COMPLETED_STREAM,
    FAILED_STREAM,
    STATE_PREFIX,
    Claim,
    DocumentCommit,
    JournalKeys,
    Settled,
    Settlement,
)
from executor_worker.broker.names import FOREIGN_STATE_PREFIX
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.queues import ranked
from executor_worker.envelopes.events import completed_event, failed_event, node_entry
from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.envelopes.work_item import Item, UnreadableItem, decode
from executor_worker.errors import InvalidNode, StateInvalid, StateMissing
from executor_worker.graph.fields import RETRY
from executor_worker.graph.parts import Retry
from executor_worker.graph.problems import Problems
from executor_worker.graph.reading import retry_of
from executor_worker.graph.state import CANCELLED, GraphState, is_cancelled, new_document, splice_node
from executor_worker.json_text import dumps
from executor_worker.nodes.executor import Task
from executor_worker.outcome import Completed, Failed
from executor_worker.worker.journal import LAST_RECORD
from executor_worker.worker.kinds import foreign_router
from executor_worker.worker.kinds.kind import Draft, Kind
from executor_worker.worker.kinds.telling import failed_instead, letter_of, readable
from executor_worker.worker.limits import Limits, check_named_limits, own_timeout
from executor_worker.worker.poisoned import answer_of_history
from executor_worker.worker.stages import Conclusion, Decision, Run, Stamp, Work

ROUTER = "router"
TERMINAL = frozenset({"completed", "failed", "cancelled"})
Read = Callable[[], bytes | None]


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
        name = super(DocumentWork, self).run_key
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
        return DocumentWork(claim, taken_at, began)

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
            self._read_foreign(work)

    def _read_foreign(self, work: DocumentWork) -> None:
        """Read the document of a router's graph where the original's routers looked for it."""
        key = FOREIGN_STATE_PREFIX + work.graph_id
        state = self._insist(lambda: work.claim.state(key))
        if state is not None:
            work.watched, work.state = key, state

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
        if state is not None and item.node_id in state.nodes and _settled_before(work.claim, item, state):
            return Conclusion(None)
        if broken is not None or (state is None and item.given_inputs is None):
            work.keep_state = True
        wrong = self._read_retry(work) if work.config and "retry" in work.config else ""
        answer = answer_of_history(work.attempt - work.repeats, failure_code, self._limits)
        if answer is not None:
            return answer
        if broken is not None:
            raise broken
        if wrong:
            raise InvalidNode(wrong)
        return self._decide_by_state(work, item, state, work.taken_at)

    def _read_retry(self, work: DocumentWork) -> str:
        """Read the node's own policy; answers what is wrong with it."""
        given = (work.config or {}).get("retry")
        if given is None:
            return ""
        problems = Problems()
        RETRY.check(given, (None, "retry"), problems)
        wrong = next(iter(problems), None)
        if wrong is not None:
            return f"{wrong.pointer.lstrip('/').replace('/', '.')} {wrong.message}"
        work.retry = retry_of(given)
        return ""

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
        config = work.config if work.config is not None else _config(work, state)
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
        outcome = conclusion.outcome
        if not isinstance(outcome, Failed) or conclusion.dead_reason is not None:
            return None
        retry = work.retry or (retry_of(outcome.retry) if outcome.retry else None)
        if retry is None or not retry.repeats(outcome.code, work.repeats + 1):
            return None
        wait_s = retry.wait_s(work.repeats + 1, random.random())
        late = work.deadline is not None and time.time() + wait_s >= work.deadline
        return None if late else wait_s

    # -- commit -------------------------------------------------------------------------------------

    def draft(self, work: DocumentWork, conclusion: Conclusion, stamp: Stamp) -> Draft:
        return _DocumentDraft(work, conclusion, stamp, self._ttl_s)


def _settled_before(claim: Claim, item: Item, state: GraphState) -> bool:
    """Tell whether the node has this very item's result, even if it came late and another worker had settled it."""
    if item.work_id and state.finished_work_id(item.node_id) == item.work_id:
        return True
    return claim.delivery.row_lost and (state.metadata(item.node_id) or {}).get("entry") == claim.held.entry


def _config(work: DocumentWork, state: GraphState | None) -> dict[str, Any]:
    """
    Raises:
        StateMissing, InvalidNode: Neither the item nor its graph has a config.
    """
    if state is None:
        advice = 'add "config" to the item, or store the state first'
        raise StateMissing(f"the item brings no config and there is no state {work.watched} to find it in: {advice}")
    raise InvalidNode(f"the item brings no config and the graph has no node {work.node_id!r} with one")


def _task(item: Item, config: dict[str, Any], state: GraphState | None) -> Task:
    given = item.given_inputs or {}
    if state is None:
        task = Task(item.graph_id, item.node_id, item.node_type, config, {**given}, {})
    else:
        inputs = {**state.inputs, **given}
        task = Task(item.graph_id, item.node_id, item.node_type, config, inputs, state.outputs)
        if len(state.outputs) < len(state.nodes):
            task.unfinished = _unfinished(state)
    if item.node_type == ROUTER and not config.get("tool_name"):
        task.rules = foreign_router.rules(item, state)
        task.further = {"state": task.rules["state"]}
    return task


def _unfinished(state: GraphState) -> dict[str, str]:
    """Status by id of the nodes that have no output."""
    waiting = {node: entry for node, entry in state.nodes.items() if node not in state.outputs}
    statuses = {node: entry.get("status") for node, entry in waiting.items() if isinstance(entry, dict)}
    return {node: status if isinstance(status, str) else "" for node, status in statuses.items()}


class _DocumentDraft(Draft):
    """One conclusion's commit, drawn up anew for each state it has to go into."""

    def __init__(self, work: DocumentWork, conclusion: Conclusion, stamp: Stamp, ttl_s: int) -> None:
        self.conclusion = conclusion
        self._work = work
        self._stamp = stamp
        self._ttl_s = ttl_s
        self._entry: dict[str, object] | None = None
        self._facts: dict[str, object] = {}
        self._events: list[tuple[str, bytes]] | None = None
        self._current = work.state
        self._force = False
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

    def heed(self, answer: Settlement) -> bool:
        """Go into the state as it is now, or by force if the item has lost its place but is not settled."""
        seen: bytes | None = answer.seen
        self._heed_cancellation(seen)
        if answer.ending is Settled.conflict:
            # Not by force any more: the other writer may have settled this very item.
            self._current, self._force = seen, False
            return True
        if answer.ending is Settled.trimmed and not self._force and self._is_untouched(seen):
            self._current, self._force = seen, True
            return True
        return False

    @property
    def forced(self) -> bool:
        return self._force

    def _heed_cancellation(self, current: bytes | None) -> None:
        """Let a node fail that has completed for a graph which was cancelled by then: none is to go on from it."""
        if current is None or not isinstance(self.conclusion.outcome, Completed):
            return
        with suppress(StateInvalid):
            if self._parsed(current).status == CANCELLED:
                self._fail("the graph was cancelled before its node was done", "cancelled")

    def _fail(self, error: str, code: str) -> None:
        """Let the node fail if its outcome can't be written: too deeply nested, or the state is spoilt."""
        self.conclusion = failed_instead(self.conclusion, error, code)
        self._events = None

    def _commit(self) -> DocumentCommit:
        work, conclusion = self._work, self.conclusion
        if self._events is None:
            self._facts = work.facts_told(conclusion, self._stamp)
            self._entry = self._node_entry()
            self._events = self._draw_events()
        expected, document = self._document()
        return DocumentCommit(
            state_key=work.watched or None,
            expected=expected,
            document=document,
            ttl_s=self._ttl_s,
            events=self._events,
            failure=isinstance(conclusion.outcome, Failed),
            dead=self._dead() if conclusion.dead_reason is not None else None,
            journal=conclusion.journal,
            last_record=LAST_RECORD,
            force=self._force,
            graph_id=work.graph_id,
            failed_node=work.node_id if isinstance(conclusion.outcome, Failed) and self._is_kept() else "",
        )

    def _is_kept(self) -> bool:
        """Tell whether the item may be put up again later: its state says that the node has failed."""
        return self._work.item is not None and not self._work.keep_state and self._entry is not None

    def _is_untouched(self, current: bytes | None) -> bool:
        """Tell whether this node was settled by none since its state was read, as far as the state can say so."""
        work = self._work
        if current is None and work.state is not None:
            return False  # gone with whatever was recorded in it: this graph is done with
        now = _metadata(current, work.node_id)
        if isinstance(now, dict) and now.get("entry") == work.held.entry:
            return False  # it was settled before we read the state
        return now == _metadata(work.state, work.node_id)

    def _document(self) -> tuple[bytes | None, bytes]:
        """The state's expected value (None: leave it alone) and its new one."""
        work, current = self._work, self._current
        if work.keep_state or self._entry is None:
            return None, b""
        if current is None:
            return b"", self._new_document(self._entry)
        return GraphState.digest(current), splice_node(current, work.node_id, self._entry, self._parsed(current))

    def _parsed(self, current: bytes) -> GraphState:
        """
        Parse *current*, once: the documents of large graphs come several times in a row.

        Raises:
            StateInvalid: It is no state.
        """
        if self._graph is None or current is not self._read:
            self._read, self._graph = current, GraphState.parse(current)
        return self._graph

    def _new_document(self, entry: dict[str, object]) -> bytes:
        """The document if there is none: as it was read, should it have expired meanwhile, else a fresh one."""
        work = self._work
        if work.state is not None:
            return splice_node(work.state, work.node_id, entry, work.graph)
        given = work.item.given_inputs if work.item is not None else None
        return new_document(work.graph_id, given or {}, work.node_id, entry)

    def _node_entry(self) -> dict[str, object] | None:
        work, outcome = self._work, self.conclusion.outcome
        if outcome is None:
            return None
        metadata = {**self._facts, "entry": work.held.entry, "delivery": work.held.count}
        if work.work_id:
            metadata["work_id"] = work.work_id
        return node_entry(
            node_id=work.node_id,
            outcome=outcome,
            started_at=work.taken_at,
            completed_at=self._stamp.now,
            metadata=metadata,
        )

    def _draw_events(self) -> list[tuple[str, bytes]]:
        work, outcome = self._work, self.conclusion.outcome
        if outcome is None or not (work.graph_id and work.node_id):
            return []
        facts, now = {**outcome.detail, **self._facts}, self._stamp.now
        if isinstance(outcome, Completed):
            if outcome.mode != "router":
                return [(COMPLETED_STREAM, completed_event(*work.names, outcome.output, facts, now))]
            facts = {"next_node": outcome.output["target"], **facts}
            facts.pop("edge_errors", None)
            completed = (COMPLETED_STREAM, completed_event(*work.names, outcome.output, facts, now))
            return [completed, foreign_router.decided(work, outcome, now)]
        failed = [(FAILED_STREAM, failed_event(*work.names, outcome.error, outcome.code, facts, now))]
        return failed + ([foreign_router.not_decided(work, outcome, now)] if work.node_type == ROUTER else [])

    def _dead(self) -> dict[str, bytes | str] | None:
        letter = letter_of(self._work, self.conclusion, self._stamp)
        if letter is None:
            return None
        delivery = self._work.claim.delivery
        return {"data": delivery.data or b"", **_kept(delivery.fields if delivery.data is None else None), **letter}


def _kept(fields: Mapping[bytes, bytes] | None) -> dict[str, bytes | str]:
    """Keep what an entry without `data` held, so that nothing of it is lost; bytes that are no text as escapes."""
    if fields is None:
        return {}
    return {"fields": dumps({readable(name): readable(value) for name, value in fields.items()})}


def _metadata(document: bytes | None, node_id: str) -> object:
    if document is None:
        return None
    try:
        return GraphState.parse(document).metadata(node_id)
    except StateInvalid:
        return None
