"""
What must be true of the streams after each exchange with Redis, whoever made it and whatever was lost.

The oracle looks with a client of its own, compares with what it saw the time before, and knows nothing of the scripts:
only who makes the exchange, what was submitted, and what each run would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, GROUP, STATE_PREFIX, WORK_STREAMS, Link, dead_stream
from executor_worker.broker.names import uncounted_key
from tests.system.broker.records import Actor, Delivery, NodeName, Place, Record, Run

GIVEN_BACK_MS = 15_768_000_000
STRANGER = b'"other":{"output":[[],{},1.0,1e400,123456789012345678901234567890,{"a":1,"a":2}],"status":"completed"}'
"""A node's state that nobody here runs: every byte of it has to stay."""


class Oracle:
    """
    Attributes:
        records: All that was submitted.
        runs: All that was run, by mark.
        foreign: Graph → what somebody else has written into its state last.
        content: All was as it must be so far.
    """

    def __init__(self, link: Link, *, delete_settled: bool) -> None:
        self.delete_settled = delete_settled
        self.records: dict[Place, Record] = {}
        self.runs: dict[str, Run] = {}
        self.foreign: dict[str, int] = {}
        self.content = True
        self._link = link
        self._actor = Actor("nobody")
        self._read = dict.fromkeys((COMPLETED_STREAM, FAILED_STREAM), "0-0")
        self._marks: dict[Place, list[str]] = {}
        self._completed: set[str] = set()
        self._written: dict[NodeName, str] = {}
        self._finished: set[tuple[NodeName, str | None]] = set()

    # -- what the oracle is told --------------------------------------------------------------------

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        """Take what Redis is told meanwhile for *actor*'s doing."""
        before, self._actor = self._actor, actor
        try:
            yield
        finally:
            self._actor = before

    def handed(self, place: Place, count: int, attempt: int) -> None:
        """Check what a worker was handed."""
        record = self.records[place]
        if record.row is None:
            return  # it came late, over a lost row: settling it is the worker's to refuse
        assert record.row == (self._actor.name, count), "P1: handed what is somebody else's"
        assert not record.done, "P1: what is settled is handed to nobody"
        assert attempt == max(count - record.uncounted, 1), "attempt = count - forgiven"
        record.deliveries[-1].ran = True

    def not_to_run(self, place: Place) -> None:
        """The actor wants to give it back as if it had never come."""
        for delivery in self.records[place].deliveries:
            delivery.ran &= delivery.actor is not self._actor

    def trimmed(self, place: Place) -> None:
        """A producer removed it."""
        record = self.records[place]
        record.present, record.excused = False, True

    def group_lost(self, stream: str) -> None:
        """Counts begin anew; what was delivered from a kept stream is not delivered again."""
        for (its, _), record in self.records.items():
            if its == stream:
                record.excused |= not self.delete_settled and bool(record.deliveries)
                record.deliveries, record.row, record.given_back = [], None, False

    def requeued(self, node: NodeName) -> None:
        """The node is pending again and has forgotten its item."""
        if node in self._written:
            self._written[node] = "pending"
        self._finished = {one for one in self._finished if one[0] != node}

    # -- looking ------------------------------------------------------------------------------------

    def look(self) -> None:
        """Compare what is there with what was there before: this is what the promises say of one step."""
        self.content = False
        self._completed.clear()
        streams, letters, states = self._ask()
        self._check_letters(letters)
        for stream, (rows, present, uncounted, delivered) in streams.items():
            for place, record in self.records.items():
                if place[0] == stream:
                    entry = place[1]
                    self._check_commits(place, record)
                    self._note_repetition(record, entry in rows, entry in present)
                    self._check_row(place, record, rows.get(entry))
                    self._check_presence(record, entry in present)
                    self._check_count(record, uncounted.get(entry, 0), _parts(entry) > delivered)
        self._check_states(states)
        self.content = True

    def _ask(self) -> tuple[dict[str, _Stream], list[Any], dict[str, bytes]]:
        """All there is to be seen, in one round trip: work streams, dead letters, states; new events go to `_marks`."""
        graphs = sorted({graph for graph, _ in self._written} | self.foreign.keys())
        asked: list[tuple[Any, ...]] = [("XRANGE", stream, f"({at}", "+") for stream, at in self._read.items()]
        asked += [("GET", STATE_PREFIX + graph) for graph in graphs]
        for stream in WORK_STREAMS:
            asked += [("XINFO", "GROUPS", stream), ("XPENDING", stream, GROUP, "-", "+", 1000)]
            asked += [("XRANGE", stream, "-", "+"), ("HGETALL", uncounted_key(stream))]
            asked.append(("XRANGE", dead_stream(stream), "-", "+"))
        replies = self._link.batch(asked)
        for stream in self._read:
            self._note_events(stream, replies.pop(0))
        states = {graph: replies.pop(0) for graph in graphs}
        streams = {stream: _read_stream(replies[5 * i : 5 * i + 4]) for i, stream in enumerate(WORK_STREAMS)}
        letters = [
            (stream, _fields(words)) for i, stream in enumerate(WORK_STREAMS) for _, words in replies[5 * i + 4]
        ]  # fmt: skip
        return streams, letters, states

    def _note_events(self, stream: str, entries: list[Any]) -> None:
        for entry, words in entries:
            self._read[stream] = entry.decode()
            event = json.loads(_fields(words)[b"data"])
            mark = event["execution_id"]
            if event["type"] == "node.completed":
                self._completed.add(event["graph_id"])
            self._marks.setdefault(self.runs[mark].place, []).append(mark)

    def _check_letters(self, letters: list[Any]) -> None:
        places: list[Place] = []
        for stream, fields in letters:
            mark = fields[b"error"].decode()
            place = self.runs[mark].place
            assert place == (stream, fields[b"original_id"].decode())
            assert place not in places, "P1: one dead letter an item"
            places.append(place)
            if not all(self.records[place].node):  # without names there is no event
                self._marks[place] = [mark]
            assert self._marks.get(place) == [mark], "P1: a dead letter and its event are one commit"

    def _check_count(self, record: Record, uncounted: int, to_come: bool) -> None:
        if record.row is not None:
            assert uncounted == record.uncounted, "attempt = count - forgiven"
        elif not record.done and not record.excused:
            assert to_come, "P2: neither pending nor still to be delivered: stuck"

    # -- P1 -----------------------------------------------------------------------------------------

    def _check_commits(self, place: Place, record: Record) -> None:
        marks = self._marks.get(place, [])
        if marks == record.commits:
            return
        assert not record.done and len(marks) == 1, "P1: settled once"
        run = self.runs[marks[0]]
        held = run.work.held
        assert record.row in (None, (held.consumer, held.count)), "P1: only its holder settles"
        record.commits, record.done = list(marks), True
        if not run.work.keep_state:
            self._written[record.node] = marks[0]
            if record.work_id:
                self._finished.add((record.node, record.work_id))

    def _note_repetition(self, record: Record, pending: bool, present: bool) -> None:
        """An item whose node has its result already is acknowledged, nothing else."""
        went = (record.row is not None and not pending) or (record.present and not present)
        if went and not record.done and (record.node, record.work_id) in self._finished:
            record.done, record.repeated_by = True, self._actor

    def _check_presence(self, record: Record, present: bool) -> None:
        """The entry leaves the stream in the step that commits it, and only then."""
        assert present == (record.present and not (record.done and self.delete_settled)), "P1: one step"

    # -- P2 -----------------------------------------------------------------------------------------

    def _check_row(self, place: Place, record: Record, row: tuple[str, int, int] | None) -> None:
        before = record.row
        record.row = row[:2] if row is not None else None
        if row is None:
            assert before is None or record.done or not record.present, "P2: its row was dropped"
            return
        consumer, count, idle_ms = row
        assert not record.done, "P1: acknowledged in the step that commits it, and never delivered again"
        if before is None or count != before[1]:
            assert count == len(record.deliveries) + 1, "one step is one delivery"
            self._delivered(place, record, consumer)
            return
        assert consumer == before[0], "P1: another holder is another delivery"
        if idle_ms >= GIVEN_BACK_MS and not record.given_back:
            record.given_back = record.was_given_back = True
            record.deliveries[-1].uncounted |= not self._actor.counts
        assert idle_ms >= GIVEN_BACK_MS or not record.given_back, "P2: what is given back stays free for everybody"

    def _delivered(self, place: Place, record: Record, consumer: str) -> None:
        actor = self._actor
        assert consumer == actor.name, "nothing is delivered to somebody who did not ask"
        last = record.deliveries[-1] if record.deliveries else None
        if last is not None and not record.given_back:
            holder = last.actor
            assert holder is actor or not (holder.safe and holder.holds == place), "P2: stolen from a live holder"
            last.uncounted |= holder is actor and actor.sure and not last.ran
        own = last is not None and last.actor.name == actor.name
        record.deliveries.append(Delivery(actor, uncounted=own and actor.condemned == place))
        record.given_back = False

    # -- P12 ----------------------------------------------------------------------------------------

    def _check_states(self, states: dict[str, bytes]) -> None:
        for graph, raw in states.items():
            state = json.loads(raw)
            if graph in self.foreign:
                assert STRANGER in raw and state["foreign"] == self.foreign[graph], "P12: others' entries stay"
            cancelled = state["status"] == "cancelled"
            assert not (cancelled and graph in self._completed), "a cancelled graph's node is not completed"
            for (its, node), mark in self._written.items():
                if its == graph:
                    assert self._is_by(mark, state["node_states"][node]), "P12: no node's entry is lost"

    def _is_by(self, mark: str, entry: dict[str, Any]) -> bool:
        """Tell whether a node's entry is what the run of that mark has written; `pending` is an operator's."""
        if mark == "pending":
            return bool(entry["status"] == "pending")
        held, metadata = self.runs[mark].work.held, entry["metadata"]
        output = entry["output"] or {"mark": mark}
        return bool((metadata["entry"], metadata["delivery"], output) == (held.entry, held.count, {"mark": mark}))


_Stream = tuple[dict[str, tuple[str, int, int]], set[str], dict[str, int], tuple[int, ...]]
"""A work stream's pending rows (consumer, count, idle ms), its entries, what is forgiven, how far it was delivered."""


def _read_stream(replies: list[Any]) -> _Stream:
    groups, pending, entries, uncounted = replies
    lost = isinstance(pending, Exception)
    rows = {row[0].decode(): (row[1].decode(), row[3], row[2]) for row in ([] if lost else pending)}
    delivered = (0, 0) if lost else _parts(_fields(groups[0])[b"last-delivered-id"].decode())
    numbers = {entry.decode(): int(number) for entry, number in _fields(uncounted).items()}
    return rows, {entry.decode() for entry, _ in entries}, numbers, delivered


def _fields(words: list[Any]) -> dict[bytes, Any]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _parts(entry: str) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-")))
