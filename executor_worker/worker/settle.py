"""
From an outcome to one commit: the node's state, the event, the dead letter, all at once and only if still ours.

Where the state changed meanwhile the node's entry is laid into the newer document and the commit is tried again;
where no reply came it is repeated until one does, and finds its own commit if it was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, Commit, Consumer, Settled
from executor_worker.broker.connection.advice import advice_of
from executor_worker.envelopes.events import completed_event, failed_event, node_entry, rfc3339
from executor_worker.errors import StateInvalid, StreamError, StreamRefused
from executor_worker.graph.state import CANCELLED, GraphState, new_document, splice_node
from executor_worker.json_text import dumps
from executor_worker.outcome import Completed, Failed
from executor_worker.telemetry import logs
from executor_worker.worker.intake import Ticket
from executor_worker.worker.journal import LAST_RECORD
from executor_worker.worker.node_settle import NodeSettler
from executor_worker.worker.result import Result


class Settler:
    """
    Args:
        worker_id: The consumer's name, for `data.worker_id`.
        pause: Called after each lost reply with the number of tries so far; waits, and answers False to give up.
        nodes: Settles nodes of runs.
    """

    def __init__(
        self,
        consumer: Consumer,
        worker_id: str,
        state_ttl_s: int,
        pause: Callable[[int], bool],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        nodes: NodeSettler | None = None,
    ) -> None:
        self._consumer = consumer
        self._worker_id = worker_id
        self._ttl_s = state_ttl_s
        self._pause = pause
        self._nodes = nodes
        self._wall = wall
        self._clock = clock

    def settle(self, ticket: Ticket, take_next: Callable[[], bool]) -> Result:
        """
        Commit *ticket*'s outcome, and take the next item in the same step where *take_next* still wants one.

        Raises:
            StreamError: `pause` gave up; whether it was committed is unknown.
        """
        draft = _Draft(ticket, self._worker_id, self._ttl_s, self._wall(), self._clock() - ticket.began)
        if ticket.run is not None and self._nodes is not None:
            return self._nodes.settle(ticket, draft.facts(), draft.letter() or {}, take_next)
        current, force, tries, refused = ticket.state, False, 0, False
        while True:
            try:
                answer, seen, upcoming = self._consumer.settle(
                    ticket.held, draft.commit(current), take_next=take_next(), force=force
                )
            except StreamError as error:
                # Also where Redis refuses: the result is there, the node is not run again for it.
                if isinstance(error, StreamRefused) and not refused:
                    refused = True
                    logs.error("settle.refused", **advice_of(error, "the result waits until Redis takes it"))
                tries += 1
                if not self._pause(tries):
                    raise
                continue
            draft.heed(seen)
            if answer is Settled.conflict:
                # Not by force any more: whoever wrote it may have settled this very item.
                current, force = seen, False
            elif answer is Settled.trimmed and not force and draft.untouched(seen):
                current, force = seen, True
            else:
                settled = answer in (Settled.settled, Settled.already)
                return Result(settled, trimmed=force and settled, next=upcoming)


class _Draft:
    """One outcome's commit, drawn up anew for each state it has to go into."""

    def __init__(self, ticket: Ticket, worker_id: str, ttl_s: int, now: float, took_s: float) -> None:
        self._ticket = ticket
        self._worker_id = worker_id
        self._ttl_s = ttl_s
        self._now = now
        self._took_s = took_s
        self._entry: dict[str, object] | None = None
        self._facts: dict[str, object] = {}
        self._events: list[tuple[str, bytes]] | None = None
        self._read, self._graph = ticket.state, ticket.graph

    def commit(self, current: bytes | None) -> Commit:
        # Both may be wrong, one after the other: the output first, then the state.
        for _ in range(2):
            try:
                return self._commit(current)
            except StateInvalid as error:
                self._ticket.keep_state = True
                self._fail(str(error), "state_invalid")
            except ValueError as error:
                code = "tool_failed" if self._ticket.mode == "tool" else "llm_bad_response"
                self._fail(f"the node's output can't be written as JSON: {error}", code)
        return self._commit(current)

    def heed(self, current: bytes | None) -> None:
        """Let a node fail that has completed for a graph which was cancelled by then: nobody is to go on from it."""
        if current is None or not isinstance(self._ticket.outcome, Completed):
            return
        with suppress(StateInvalid):
            if self._said(current).status == CANCELLED:
                self._fail("the graph was cancelled before its node was done", "cancelled")

    def _fail(self, error: str, code: str) -> None:
        """Let the node fail where its outcome can't be written: too deeply nested, or the state is spoilt."""
        was = self._ticket.outcome
        self._ticket.outcome = Failed(error, code, was.mode if was else None, was.usage if was else None)
        self._events = None

    def _commit(self, current: bytes | None) -> Commit:
        ticket = self._ticket
        if self._events is None:
            self._facts = self.facts()
            self._entry = self._node_entry()
            self._events = self._draw_events()
        expected, document = self._document(current)
        return Commit(
            state_key=ticket.state_key,
            expected=expected,
            document=document,
            ttl_s=self._ttl_s,
            events=self._events,
            failure=isinstance(ticket.outcome, Failed),
            dead=self.letter(),
            journal=ticket.journal,
            last_record=LAST_RECORD,
        )

    def untouched(self, current: bytes | None) -> bool:
        """Tell whether nobody has settled this node since its state was read, as far as the state can say so."""
        if current is None and self._ticket.state is not None:
            return False  # gone with whatever was recorded in it: somebody is done with this graph
        now = _metadata(current, self._ticket.node_id)
        if isinstance(now, dict) and now.get("entry") == self._ticket.held.entry:
            return False  # it was settled before we read the state
        return now == _metadata(self._ticket.state, self._ticket.node_id)

    def _document(self, current: bytes | None) -> tuple[bytes | None, bytes]:
        """The state's expected value (None: leave it alone) and its new one."""
        ticket = self._ticket
        if ticket.repeat or ticket.keep_state or self._entry is None:
            return None, b""
        if current is None:
            return b"", self._new_document()
        return GraphState.digest(current), splice_node(current, ticket.node_id, self._entry, self._said(current))

    def _said(self, current: bytes) -> GraphState:
        """
        What *current* says, taken apart once: the documents of large graphs come several times in a row.

        Raises:
            StateInvalid: It is no state.
        """
        if self._graph is None or current is not self._read:
            self._read, self._graph = current, GraphState.parse(current)
        return self._graph

    def _new_document(self) -> bytes:
        """The document where there is none: as it was read, should it have expired meanwhile, else a fresh one."""
        ticket, entry = self._ticket, self._entry
        assert entry is not None
        if ticket.state is not None:
            return splice_node(ticket.state, ticket.node_id, entry, ticket.graph)
        given = ticket.item.given_inputs if ticket.item is not None else None
        return new_document(ticket.graph_id, given or {}, ticket.node_id, entry)

    def _node_entry(self) -> dict[str, object] | None:
        ticket, outcome = self._ticket, self._ticket.outcome
        if outcome is None:
            return None
        return node_entry(
            node_id=ticket.node_id,
            outcome=outcome,
            started_at=ticket.taken_at,
            completed_at=self._now,
            metadata={**self._facts, "entry": ticket.held.entry, "delivery": ticket.held.count, **self._mark()},
        )

    def _mark(self) -> dict[str, object]:
        item = self._ticket.item
        return {"work_id": item.work_id} if item is not None and item.work_id else {}

    def facts(self) -> dict[str, object]:
        """What result and state both say of the run."""
        ticket, outcome = self._ticket, self._ticket.outcome
        facts: dict[str, object] = {
            "worker_id": self._worker_id,
            "mode": (outcome.mode if outcome is not None else None) or ticket.mode,
            "attempt": ticket.attempt - (ticket.dead_reason == "poisoned" and ticket.run is None),
            "duration_ms": round(self._took_s * 1000, 3),
        }
        if outcome is not None and outcome.usage is not None:
            facts["usage"] = outcome.usage.as_json()
        return facts

    def _draw_events(self) -> list[tuple[str, bytes]]:
        ticket, outcome = self._ticket, self._ticket.outcome
        named = ticket.graph_id and ticket.node_id
        if outcome is None or not named:
            return []
        names = (ticket.graph_id, ticket.execution_id or ticket.graph_id, ticket.node_id)
        facts = {**outcome.detail, **self._facts}
        if isinstance(outcome, Completed):
            return [(COMPLETED_STREAM, completed_event(*names, outcome.output, facts, self._now))]
        return [(FAILED_STREAM, failed_event(*names, outcome.error, outcome.code, facts, self._now))]

    def letter(self) -> dict[str, bytes | str] | None:
        """The fields of its dead letter; None where it is none."""
        ticket, outcome = self._ticket, self._ticket.outcome
        if ticket.dead_reason is None or not isinstance(outcome, Failed):
            return None
        poisoned = ticket.dead_reason == "poisoned"
        return {
            "data": ticket.data,
            **_kept(ticket.fields),
            "original_id": ticket.held.entry,
            "reason": ticket.dead_reason,
            "error": outcome.error,
            "deliveries": str(ticket.held.attempt - poisoned),
            "consumer": ticket.held.consumer,
            "failed_at": rfc3339(self._now),
        }


def _kept(fields: Mapping[bytes, bytes] | None) -> dict[str, bytes | str]:
    """What an entry without `data` held, so that nothing of it is lost; bytes that are no text as escapes."""
    if fields is None:
        return {}
    return {"fields": dumps({_readable(name): _readable(value) for name, value in fields.items()})}


def _readable(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _metadata(document: bytes | None, node_id: str) -> object:
    if document is None:
        return None
    try:
        return GraphState.parse(document).metadata(node_id)
    except StateInvalid:
        return None
