"""
Drafts of items of graphs that others schedule, if they are not committed just as they are.

If the state changed meanwhile, the node's entry is laid into the newer document and the commit is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, Settled, Settlement
from executor_worker.broker.names import dead_stream
from executor_worker.broker.queue.router_work import origin_of
from executor_worker.envelopes.events import completed_event, failed_event
from executor_worker.errors import StateInvalid
from executor_worker.graph.state import CANCELLED, GraphState, new_document, splice_node
from executor_worker.json_text import dumps
from executor_worker.outcome import Completed, Failed
from executor_worker.worker.kinds import foreign_router
from executor_worker.worker.kinds.kind import Draft
from executor_worker.worker.kinds.telling import failed_instead, letter_of, readable
from executor_worker.worker.stages import Stamp

if TYPE_CHECKING:
    from executor_worker.worker.kinds.document import DocumentWork


ROUTER = "router"


class RareDraft(Draft):
    """A draft with all that only some commits need: another state, force, a dead letter, a failure."""

    _work: DocumentWork
    _stamp: Stamp
    _events: list[tuple[str, bytes]] | None
    _current: bytes | None
    _read: bytes | None
    _graph: GraphState | None

    def heed(self, answer: Settlement) -> bool:
        """Go into the state as it is now, or by force if the item has lost its place but is not settled."""
        seen: bytes | None = answer.seen
        self._heed_cancellation(seen)
        if answer.ending is Settled.conflict:
            # Not by force any more: the other writer may have settled this very item.
            self._current, self.forced = seen, False
            return True
        if answer.ending is Settled.trimmed and not self.forced and self._is_untouched(seen):
            self._current, self.forced = seen, True
            return True
        return False

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

    def _parsed(self, current: bytes) -> GraphState:
        """
        Parse *current*, once: the documents of large graphs come several times in a row.

        Raises:
            StateInvalid: It is no state.
        """
        if self._graph is None or current is not self._read:
            self._read, self._graph = current, GraphState.parse(current)
        return self._graph

    def _failed_events(self, outcome: Failed, facts: dict[str, object]) -> list[tuple[str, bytes]]:
        work, now = self._work, self._stamp.now
        failed = [(FAILED_STREAM, failed_event(*work.names, outcome.error, outcome.code, facts, now))]
        return failed + ([foreign_router.not_decided(work, outcome, now)] if work.node_type == ROUTER else [])

    def _routed_events(self, outcome: Completed, facts: dict[str, object]) -> list[tuple[str, bytes]]:
        work, now = self._work, self._stamp.now
        facts = {"next_node": outcome.output["target"], **facts}
        facts.pop("edge_errors", None)
        completed = (COMPLETED_STREAM, completed_event(*work.names, outcome.output, facts, now))
        return [completed, foreign_router.decided(work, outcome, now)]

    def _is_untouched(self, current: bytes | None) -> bool:
        """Tell whether this node was settled by none since its state was read, as far as the state can say so."""
        work = self._work
        if current is None and work.state is not None:
            return False  # gone with whatever was recorded in it: this graph is done with
        now = _metadata(current, work.node_id)
        if isinstance(now, dict) and now.get("entry") == work.held.entry:
            return False  # it was settled before we read the state
        return now == _metadata(work.state, work.node_id)

    def _new_document(self, entry: dict[str, object]) -> bytes:
        """The document if there is none: as it was read, should it have expired meanwhile, else a fresh one."""
        work = self._work
        if work.state is not None:
            return splice_node(work.state, work.node_id, entry, work.graph)
        given = work.item.given_inputs if work.item is not None else None
        return new_document(work.graph_id, given or {}, work.node_id, entry)

    def _dead(self) -> dict[str, bytes | str] | None:
        letter = letter_of(self._work, self.conclusion, self._stamp)
        if letter is None:
            return None
        delivery = self._work.claim.delivery
        origin = origin_of(delivery.fields)
        if origin is not None:
            return {**origin.kept, **letter, "original_id": origin.entry}
        return {"data": delivery.data or b"", **_kept(delivery.fields if delivery.data is None else None), **letter}

    def _letters(self) -> str:
        """The stream of its dead letter if it was handed on: that of the stream where it was put."""
        origin = origin_of(self._work.claim.delivery.fields)
        return dead_stream(origin.stream) if origin is not None else ""


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
