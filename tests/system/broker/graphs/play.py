"""Play a run twice, step by step: by the scripts in Redis, and by the pure model that says what must come of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker import Claim, Consumer, Link, Settled
from executor_worker.broker.graphs import RunError, drive, runs
from executor_worker.broker.graphs.deciding import Deciding
from executor_worker.broker.graphs.records import Decided, NodeField, rest_of
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.graphs.settling import NodeCommit
from executor_worker.broker.graphs.taken import TakenNode, TakenStep, taken_of
from executor_worker.broker.names import run_key
from executor_worker.graph.advance import ENDED, Answer, Run
from executor_worker.graph.definition import Graph
from executor_worker.graph.plan import compile_graph
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import dumps

Client = Any


def nothing(_template: Any, _seen: Any) -> tuple[None, dict[str, str]]:
    """Graphs here have no output of their own."""
    return None, {}


def number(*parts: object) -> int:
    """A number that is always the same for the same parts."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "big")


@dataclass
class Made:
    """
    A graph made up, as a document, and what its nodes and edges do.

    Attributes:
        past: Node → nodes from which a path leads to it.
    """

    seed: int
    document: dict[str, Any]
    past: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def by(cls, chance: random.Random) -> Made:
        count = chance.randint(2, 9)
        names = [f"n{at}" for at in range(count)]
        nodes: dict[str, dict[str, Any]] = {}
        edges = []
        past: dict[str, set[str]] = {}
        for at, name in enumerate(names):
            sources = chance.sample(names[:at], min(at, chance.choice([0, 1, 1, 2, 2, 3])))
            past[name] = set(sources).union(*(past[source] for source in sources))
            kind = chance.choice(["tool", "tool", "router", "end"]) if sources else "tool"
            named = chance.sample(sorted(past[name]), chance.randint(0, min(len(past[name]), 3)))
            params = {other: f"{{{{{other}}}}}" for other in named}
            nodes[name] = {"type": kind, "config": {"tool_name": "x", "tool_params": params}}
            join = chance.choice(["all", "all", "any", 2])
            nodes[name]["join"] = "all" if join == 2 and len(sources) < 2 else join
            if chance.random() < 0.4:
                nodes[name]["on_failure"] = "continue"
            edges += [{"from": source, "to": name} for source in sources]
        for name in names:
            if nodes[name]["type"] == "router":
                targets = [edge["to"] for edge in edges if edge["from"] == name]
                nodes[name]["config"] = {"rules": [{"condition": "true", "target": target} for target in targets]}
                nodes[name]["type"] = "router" if targets else "end"
        document = {"nodes": nodes, "edges": edges, "failure": chance.choice(["fail_fast", "finish", "finish"])}
        return cls(chance.randint(0, 2**30), document, past)

    def outcome(self, node: str) -> str:
        return "failed" if number(self.seed, "outcome", node) % 4 == 0 else "completed"

    def took(self, node: str, count: int, seen: Iterable[tuple[str, str]]) -> str:
        """Which of *count* edges are taken: by chance, but always the same for the same past."""
        marks = "".join(str(int(number(self.seed, node, at, sorted(seen)) % 4 != 0)) for at in range(count))
        return "*" if "0" not in marks else "-" if "1" not in marks else marks


class Scripted(Deciding):
    """Decides as the graph made up says, over what the real one reads of the past."""

    made: Made

    def _decide_node(self, node: str, just_ended: Mapping[str, NodeEnd], led: Any) -> Steps[None]:
        past, assumed = yield from self._past(sorted(self.made.past[node]), just_ended, node)
        seen = [(name, one.status) for name, one in past.items() if name not in assumed]
        took = self.made.took(node, len(self.plans[node].out), seen)
        decided = Decided(node, "completed", took, b"null", rest_of(None, {}), assumed=assumed)
        self.given[node] = self.local[node] = decided


@dataclass
class Hand:
    """A worker's hand: what it took, and what of its end is decided so far."""

    claim: Claim
    node: TakenNode
    deciding: Scripted | None = None
    commit: NodeCommit | None = None


class Play:
    """
    One run, played by the scripts and by the model.

    Args:
        follows: The model is asked for each step; else the scripts play alone.
    """

    def __init__(
        self, made: Made, db: Client, link: Link, workers: list[Consumer], window: int, *, follows: bool = True
    ) -> None:
        self.follows = follows
        self.made, self.db, self.link, self.workers = made, db, link, workers
        graph = Graph.read({**made.document, "max_parallel": window})
        self.plan = compile_graph(graph)
        self.id = runs.new_graph_id()
        self.hands: dict[Consumer, Hand] = {}
        self.model = Run(self.plan.places, window=window, failure=graph.failure)
        drive(link, runs.submit(runs.Submission(graph, {}, self.id), nothing, self._deciding()))
        if follows:
            self.model.submit(self.plan.roots, self._judge)

    def over(self) -> bool:
        return not self.hands and self.model.status in ("completed", "failed", "cancelled") and not self.model.stopping

    def take(self, worker: Consumer) -> None:
        """A worker takes whatever there is."""
        claim = worker.take()
        if claim is None:
            return
        taken = taken_of(claim.delivery.brought)
        if isinstance(taken, TakenStep):
            drive(self.link, runs.step(self.id, nothing, consumer=claim.held.consumer, entry=claim.held.entry))
            return
        self.hands[worker] = Hand(claim, taken)
        assert not self.follows or self.model.start(taken.node)
        self._compare_past(taken)

    def settle(self, worker: Consumer) -> Settled:
        """A worker tries to settle; where something has to be decided first it does that, and no more for now."""
        hand = self.hands[worker]
        if hand.commit is None or hand.deciding is None:
            hand.commit, hand.deciding = self._commit(hand.node), self._deciding()
            hand.deciding.local[hand.node.node] = hand.commit.decided
        hand.commit.more = hand.deciding.words()
        ending, missing, _ = hand.claim.settle(hand.commit, take_next=False)
        if ending is Settled.judge:
            steps = hand.deciding.decide(missing)
            hand.claim.ask(lambda link: drive(link, steps))
            return ending
        del self.hands[worker]
        if not self.follows:
            return ending
        decided = hand.commit.decided
        counted = self.model.end(decided.node, decided.status, decided.took, self._judge)
        assert counted == (ending is Settled.settled), (ending, self.model)
        return ending

    def cancel(self) -> None:
        try:
            drive(self.link, runs.cancel(self.id))
        except RunError:
            assert not self.follows or not self.model.cancel(self._judge)
        else:
            assert not self.follows or self.model.cancel(self._judge)

    def compare(self) -> None:
        """Check that everything stored is as the model has it."""
        base, model = run_key(self.id), self.model
        stored = {name.decode(): NodeField.parse(raw) for name, raw in self.db.hgetall(f"{base}:nodes").items()}
        shown = {name: (one.status, one.ready, one.ended, one.took) for name, one in stored.items()}
        wanted = {name: (one.status, one.ready, one.ended, one.took) for name, one in model.nodes.items()}
        assert shown == wanted
        log = [tuple(record.decode().split("\t")[::2][:2]) for record in self.db.lrange(f"{base}:log", 0, -1)]
        assert log == model.log, (log, model.log)
        head = {name.decode(): value.decode() for name, value in self.db.hgetall(base).items()}
        assert (head["status"], head.get("stopping", "")) == (model.status, model.stopping)
        assert int(head["left"]) == model.left
        if not model.stopping and model.status in ("submitted", "running"):
            joins = {name.decode(): raw.decode() for name, raw in self.db.hgetall(f"{base}:joins").items()}
            assert joins == {name: f"{one.open} {one.taken}" for name, one in model.joins.items()}
            assert [name.decode() for name in self.db.lrange(f"{base}:ready", 0, -1)] == model.ready
            assert int(head["slots"]) == model.slots
            at_work = {name for name, one in model.nodes.items() if one.status in ("queued", "running")}
            assert {name.decode() for name in self.db.hkeys(f"{base}:open")} == at_work

    def _compare_past(self, taken: TakenNode) -> None:
        """Check that a node sees of those it names just what had ended before it became ready."""
        named = self.made.document["nodes"][taken.node]["config"].get("tool_params", {})
        wanted = {other: self.seen(taken.node, other) or "" for other in named}
        assert {other: end.status for other, end in taken.seen.past.items()} == wanted
        for other, end in taken.seen.past.items():
            if self.plan.places[other].inline == "w":
                assert end.output == (other if end.status == "completed" else None), (taken.node, other, end)

    # -- inside ---------------------------------------------------------------------------------------

    def _deciding(self) -> Scripted:
        deciding = Scripted(self.id, nothing, {}, dict(self.plan.nodes))
        deciding.made = self.made
        return deciding

    def _judge(self, run: Run, node: str) -> Answer:
        seen = [(other, run.nodes[other].status) for other in self.made.past[node] if run.sees(node, other)]
        return Answer("completed", self.made.took(node, len(self.plan.nodes[node].out), seen))

    def seen(self, node: str, other: str) -> str | None:
        """How *other* had ended before *node* became ready; None if it had not."""
        if self.follows:
            return self.model.nodes[other].status if self.model.sees(node, other) else None
        raw = self.db.hmget(f"{run_key(self.id)}:nodes", other, node)
        one, own = (NodeField.parse(field) if field is not None else NodeField() for field in raw)
        return one.status if one.status in ENDED and one.ended <= own.ready else None

    def _commit(self, node: TakenNode) -> NodeCommit:
        status = self.made.outcome(node.node)
        past = [(other, self.seen(node.node, other)) for other in self.made.past[node.node]]
        seen = [(other, status) for other, status in past if status is not None]
        handled = status == "completed" or self.plan.places[node.node].handled
        took = self.made.took(node.node, len(self.plan.nodes[node.node].out), seen) if handled else "-"
        output = dumps(node.node) if status == "completed" else b""
        decided = Decided(node.node, status, took, output, rest_of(None, {}))
        return NodeCommit(self.id, node.node, node.epoch, node.attempt, decided)
