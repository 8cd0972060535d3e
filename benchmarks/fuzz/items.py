"""Items: from whatever lies in a work stream, over whatever state, to one commit."""

from __future__ import annotations

import json
from typing import Any, cast

from benchmarks.fuzz import states
from benchmarks.fuzz.codes import ending
from benchmarks.fuzz.material import Material, Pairs, as_written
from executor_worker.broker import (
    COMPLETED_STREAM,
    Claim,
    Delivery,
    DocumentCommit,
    Held,
    JournalKeys,
    Settled,
    Settlement,
)
from executor_worker.broker.queue.commit import Commit
from executor_worker.broker.queue.delivery import Holder
from executor_worker.graph.state import GraphState
from executor_worker.outcome import Completed, Failed, Mode, Usage
from executor_worker.worker.item import Intake, Settler
from executor_worker.worker.kinds import by_name
from executor_worker.worker.kinds.document import DocumentKind, DocumentWork
from executor_worker.worker.limits import Limits
from executor_worker.worker.stages import Conclusion, Run

NOW = 1_800_000_000.0
MODES: tuple[Mode, ...] = ("tool", "llm", "agent")
KINDS = by_name(DocumentKind(Limits(900.0, 3, 1 << 20), 60))
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


class NoJournal:
    """Journals of which there are none."""

    def read(self, *keys: str) -> list[list[bytes]]:
        return [[] for _ in keys]


class Ledger:
    """Answers as Redis would, at most twice with a newer state; keeps what was committed in the end."""

    def __init__(self, material: Material, state: bytes | None) -> None:
        self.state = state
        self.commit: DocumentCommit | None = None
        self._material = material
        self._conflicts = material.random.randrange(3)

    def read_state(self, key: str) -> bytes | None:
        return self.state

    def journal(self, held: Held, *, ttl_s: float, run: tuple[str, str] | None = None) -> JournalKeys:
        return cast("JournalKeys", NoJournal())

    def settle(self, held: Held, commit: Commit, *, take_next: bool) -> Settlement:
        assert isinstance(commit, DocumentCommit)
        if commit.expected is not None and self._conflicts:
            self._conflicts -= 1
            self.state = states.document(self._material) if self._material.chance(0.8) else None
            return Settlement(Settled.conflict, self.state)
        self.commit = commit
        return Settlement(Settled.settled)


def case(material: Material) -> str:
    """Open an entry, let it end somehow, and settle it."""
    data, names = entry(material)
    ledger = Ledger(material, states.document(material) if material.chance(0.8) else None)
    count = material.random.choice((1, 1, 1, 2, 5))
    fields = {b"data": data} if material.chance(0.97) else {b"x": data}
    claim = Claim(Delivery(Held("executor.work", "1-1", count, "w.1"), fields, "document"), cast("Holder", ledger))
    work = Intake(KINDS, wall=lambda: NOW).open(claim)
    assert isinstance(work, DocumentWork)
    if names is not None and claim.delivery.data is not None:
        assert work.item is not None, "a good item is taken"
        assert (work.graph_id, work.node_id) == names, "under its names"
    decision = work.decision
    conclusion = Conclusion(_outcome(material)) if isinstance(decision, Run) else decision
    told = (
        "taken" if isinstance(decision, Run) else "repeated" if decision.outcome is None else ending(decision.outcome)
    )
    result = Settler(KINDS, "w.1", lambda _: False, wall=lambda: NOW + 1).settle(work, conclusion, lambda: False)
    assert result.settled
    assert ledger.commit is not None
    check(ledger.commit, ledger.state, work, result.conclusion)
    return told


def _outcome(material: Material) -> Completed | Failed:
    mode: Mode = material.random.choice(MODES)
    if material.chance(0.7):
        return Completed(material.value(), mode, Usage(3, 5))
    return Failed(material.text() or "it failed", "tool_failed", mode)


def check(commit: DocumentCommit, state: bytes | None, work: DocumentWork, conclusion: Conclusion) -> None:
    """One event at most, all of it JSON, and a document in which nothing but the node's entry has changed."""
    events = [json.loads(event) for _, event in commit.events]
    outcome, named = conclusion.outcome, bool(work.graph_id and work.node_id)
    assert len(events) == (named and outcome is not None), "one result"
    for (stream, _), event in zip(commit.events, events, strict=True):
        completed = isinstance(outcome, Completed)
        assert (event["type"] == "node.completed") == (stream == COMPLETED_STREAM) == completed
        assert event["data"]["output"] == (outcome.output if isinstance(outcome, Completed) else None)
        if isinstance(outcome, Failed):
            assert event["data"]["error_code"] == ending(outcome)
    if conclusion.dead_reason is not None:
        assert commit.dead is not None, "what can't be run is kept"
    if commit.expected is None:
        return
    written = GraphState.parse(commit.document)
    status = "completed" if isinstance(outcome, Completed) else "failed"
    assert written.nodes[work.node_id]["status"] == status
    before = state if state is not None else work.state
    if before is not None:
        old, new = as_written(before), as_written(commit.document)
        assert isinstance(new, Pairs)
        names = "node_states", work.node_id
        assert states.same(states.without(old, names[0]), states.without(new, names[0])), "the document has changed"
        old_nodes, new_nodes = states.last(old, names[0]), states.last(new, names[0])
        assert states.same(states.without(old_nodes, names[1]), states.without(new_nodes, names[1])), (
            "a node has changed"
        )
