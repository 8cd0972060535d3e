"""Items: from whatever lies in a work stream, over whatever state, to one commit."""

from __future__ import annotations

import json
from typing import Any, cast

from benchmarks.fuzz import states
from benchmarks.fuzz.codes import ending
from benchmarks.fuzz.material import Material, Pairs, as_written
from executor_worker.broker import COMPLETED_STREAM, Commit, Consumer, Held, Settled, Taken
from executor_worker.graph.state import GraphState
from executor_worker.outcome import Completed, Failed, Mode, Usage
from executor_worker.worker.intake import Intake, Limits, Ticket
from executor_worker.worker.settle import Settler

NOW = 1_800_000_000.0
MODES: tuple[Mode, ...] = ("tool", "llm", "agent")
LIMITS = Limits(900.0, 3, 1 << 20)
DEADLINES = ("2027-01-15T08:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "2000-01-01", "soon", "")
FIELDS = ("graph_id", "node_id", "config", "inputs", "dependencies", "metadata", "deadline")


def entry(material: Material) -> tuple[bytes, tuple[str, str] | None]:
    """An entry's data, and the names it has where it is a plain item that must be taken."""
    random = material.random
    names = random.choice(("g", "é", "a b", 'q"', "x" * 600)), random.choice(("n", "m", "é"))
    body: dict[str, Any] = {"graph_id": names[0], "node_id": names[1], "node_type": "tool", "dependencies": []}
    body |= {"config": {"tool_name": "t", material.text(): material.raw()}} if material.chance(0.7) else {}
    body |= {"inputs": {material.text(): material.raw()}} if material.chance(0.6) else {}
    body |= {"deadline": random.choice(DEADLINES[:3])} if material.chance(0.2) else {}
    whole: dict[str, Any] = {"id": "w", "type": "node.work", "execution_id": "x", "data": body}
    whole = whole if material.chance(0.5) else body
    if material.chance(0.6):
        data = material.written(whole)
        return data, None if states.deep(data) else names
    for name in random.sample(FIELDS, 2):
        body[name] = material.raw() if material.chance(0.8) else random.choice(DEADLINES)
    data = material.written(whole)
    return (material.mangled(data) if material.chance(0.6) else data), None


class Ledger:
    """Answers as Redis would, at most twice with a newer state; keeps what was committed in the end."""

    def __init__(self, material: Material, state: bytes | None) -> None:
        self.state = state
        self.commit: Commit | None = None
        self._material = material
        self._conflicts = material.random.randrange(3)

    def settle(
        self, held: Held, commit: Commit, *, take_next: bool, force: bool = False
    ) -> tuple[Settled, bytes | None, Taken | None]:
        if commit.expected is not None and self._conflicts:
            self._conflicts -= 1
            self.state = states.document(self._material) if self._material.chance(0.8) else None
            return Settled.conflict, self.state, None
        self.commit = commit
        return Settled.settled, None, None


def case(material: Material) -> str:
    """Open an entry, let it end somehow, and settle it."""
    data, names = entry(material)
    state = states.document(material) if material.chance(0.8) else None
    count = material.random.choice((1, 1, 1, 2, 5))
    taken = Taken(Held("executor.work", "1-1", count, "w.1"), data if material.chance(0.97) else None, {b"x": data})
    ticket = Intake(LIMITS, lambda _: state, wall=lambda: NOW).open(taken, "")
    assert ticket.outcome is not None or ticket.task is not None or ticket.repeat
    if names is not None and taken.data is not None:
        assert ticket.item is not None, "a good item is taken"
        assert (ticket.graph_id, ticket.node_id) == names, "under its names"
    told = "repeated" if ticket.repeat else "taken" if ticket.outcome is None else ending(ticket.outcome)
    if ticket.task is not None and ticket.outcome is None:
        ticket.outcome = _outcome(material)
    ledger = Ledger(material, ticket.state)
    settler = Settler(cast("Consumer", ledger), "w.1", 60, lambda _: False, wall=lambda: NOW + 1)
    assert settler.settle(ticket, lambda: False).settled
    assert ledger.commit is not None
    check(ledger.commit, ledger.state, ticket)
    return told


def _outcome(material: Material) -> Completed | Failed:
    mode: Mode = material.random.choice(MODES)
    if material.chance(0.7):
        return Completed(material.value(), mode, Usage(3, 5))
    return Failed(material.text() or "it failed", "tool_failed", mode)


def check(commit: Commit, state: bytes | None, ticket: Ticket) -> None:
    """One event at most, all of it JSON, and a document in which nothing but the node's entry has changed."""
    events = [json.loads(event) for _, event in commit.events]
    named = bool(ticket.graph_id and ticket.node_id)
    assert len(events) == (named and not ticket.repeat), "one result"
    for (stream, _), event in zip(commit.events, events, strict=True):
        completed = isinstance(ticket.outcome, Completed)
        assert (event["type"] == "node.completed") == (stream == COMPLETED_STREAM) == completed
        assert event["data"]["output"] == (ticket.outcome.output if isinstance(ticket.outcome, Completed) else None)
        if isinstance(ticket.outcome, Failed):
            assert event["data"]["error_code"] == ending(ticket.outcome)
    if ticket.dead_reason is not None:
        assert commit.dead is not None, "what can't be run is kept"
    if commit.expected is None:
        return
    written = GraphState.parse(commit.document)
    status = "completed" if isinstance(ticket.outcome, Completed) else "failed"
    assert written.nodes[ticket.node_id]["status"] == status
    before = state if state is not None else ticket.state
    if before is not None:
        old, new = as_written(before), as_written(commit.document)
        assert isinstance(new, Pairs)
        names = "node_states", ticket.node_id
        assert states.same(states.without(old, names[0]), states.without(new, names[0])), "the document has changed"
        old_nodes, new_nodes = states.last(old, names[0]), states.last(new, names[0])
        assert states.same(states.without(old_nodes, names[1]), states.without(new_nodes, names[1])), (
            "a node has changed"
        )
