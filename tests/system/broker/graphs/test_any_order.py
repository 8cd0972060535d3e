"""
Whatever is done to a run in whatever order, and however much of it Redis forgets, it ends, rightly and once.

Workers take, settle, die, repeat; the run is cancelled, retried, held, resumed; timers fire; replies are lost; and
Redis goes back to what it was some steps ago, while the workers still hold what they held. All pairs of these occur.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor_worker.broker import Consumer, Link, Settled
from executor_worker.broker.graphs import RunError, drive, runs, stepping
from executor_worker.broker.graphs.duties import work_off
from executor_worker.broker.graphs.records import ENDED, Decided, NodeField, rest_of
from executor_worker.broker.graphs.settling import NodeCommit
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.graphs.taken import TakenStep, taken_of
from executor_worker.broker.names import GROUP, looks_key, run_key, timers_key
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from executor_worker.graph.advance import Answer, Run
from executor_worker.graph.definition import Graph
from executor_worker.graph.plan import compile_graph
from tests.system.broker.graphs.play import Client, Hand, Made, Scripted, nothing

EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "40"))
STEPS = 60
GIVEN_BACK_MS = 15_768_000_000  # see lua/lib/constants.lua
WORK = "executor.work"
TERMINAL = ("graph.completed", "graph.failed", "graph.cancelled")


class Disorder:
    """One run, three workers, and all that can happen to them."""

    def __init__(self, chance: random.Random, db: Client, link: Link, workers: list[Consumer]) -> None:
        self.chance, self.db, self.link, self.workers = chance, db, link, workers
        self.made = Made.by(chance)
        self.graph = Graph.read({**self.made.document, "max_parallel": chance.choice([1, 2, 500])})
        self.plan = compile_graph(self.graph)
        self.id = runs.new_graph_id()
        self.hands: dict[Consumer, Hand] = {}
        self.saved: list[dict[bytes, bytes]] = []
        self.stopped = False
        self.did: list[str] = []
        db.xgroup_create(WORK, GROUP, "0", mkstream=True)
        drive(link, runs.submit(runs.Submission(self.graph, {}, self.id), nothing, self.deciding()))

    # -- what may happen ------------------------------------------------------------------------------

    def act(self) -> None:
        """Do one thing by chance, then look whether all that is stored fits together."""
        ways = [self.take] * 8 + [self.settle] * 8 + [self.repeat, self.die, self.read_unseen, self.timers, self.look]
        ways += [self.save] * 2 + [self.roll_back, self.cancel, self.retry, self.hold, self.resume, self.settle_twice]
        way = self.chance.choice(ways)
        self.did.append(way.__name__)
        way()
        self.assert_consistent()

    def take(self, worker: Consumer | None = None) -> None:
        worker = worker or self.chance.choice(self.workers)
        if worker in self.hands:
            return
        claim = worker.take(stale=self.given_back())
        if claim is None:
            return
        taken = taken_of(claim.delivery.brought)
        if isinstance(taken, TakenStep):
            held = claim.held
            steps = runs.step(self.id, nothing, consumer=held.consumer, entry=held.entry, count=held.count)
            with patch.object(stepping, "Deciding", lambda *_: self.deciding()):
                drive(self.link, steps)
        else:
            self.hands[worker] = Hand(claim, taken)

    def settle(self) -> None:
        """One try: where something has to be decided first, others come between that and the next."""
        if not self.hands:
            return
        worker = self.chance.choice(list(self.hands))
        if self.settled(worker) is not Settled.judge:
            del self.hands[worker]

    def settle_twice(self) -> None:
        """The reply to it is lost, and it is sent again."""
        if not self.hands:
            return
        worker = self.chance.choice(list(self.hands))
        first = self.settled(worker)
        if first is Settled.judge:
            return
        before = self.log()
        again = self.settled(worker)
        assert again in (Settled.already, Settled.late, Settled.fenced), (first, again)
        assert self.log() == before
        del self.hands[worker]

    def repeat(self) -> None:
        """A node fails and is to be run again."""
        if not self.hands:
            return
        worker, hand = self.chance.choice(list(self.hands.items()))
        hand.commit = replace(self.commit(hand), delay_ms=self.chance.choice([0, 20_000]))
        hand.deciding = self.deciding()
        if self.settled(worker) is not Settled.judge:
            del self.hands[worker]

    def die(self) -> None:
        """A worker is killed: its keeper gives back what it held."""
        if self.hands:
            worker = self.chance.choice(list(self.hands))
            worker.release(self.hands.pop(worker).claim.held, counted=True)

    def read_unseen(self) -> None:
        """The reply to a read is lost: the worker has an item and does not know."""
        worker = self.chance.choice(self.workers)
        if worker not in self.hands:
            self.db.xreadgroup(GROUP, worker.name, {WORK: ">"}, count=1)
            worker.may_have_unseen = True

    def timers(self) -> None:
        """Time passes: all timers are due."""
        for member in self.db.zrange(timers_key(), 0, -1):
            if b"\ttimeout\t" not in member:
                self.db.zadd(timers_key(), {member: 0})
        assert drive(self.link, work_off()).mended == 0

    def look(self) -> None:
        """Nothing has ever to be mended."""
        if not self.head().ended:
            self.db.zadd(looks_key(), {self.id: 0})
        assert drive(self.link, work_off()).mended == 0, self.did

    def save(self) -> None:
        """Up to here Redis' log has reached the disk."""
        self.saved.append({key: self.db.dump(key) for key in self.db.keys("*")})

    def roll_back(self) -> None:
        """Redis is killed and knows no more than what had reached the disk; nobody else forgets anything."""
        if not self.saved:
            return
        self.db.flushdb()
        for key, value in self.saved.pop().items():
            self.db.restore(key, 0, value)
        for worker in self.workers:
            worker.may_have_unseen = True
        time.sleep(0.002)  # no entry gets the name of one that is forgotten

    def cancel(self) -> None:
        self.verb(lambda: drive(self.link, runs.cancel(self.id)))

    def retry(self) -> None:
        self.verb(lambda: drive(self.link, runs.retry(self.id)))

    def hold(self) -> None:
        self.verb(lambda: drive(self.link, runs.hold(self.id)))

    def resume(self) -> None:
        self.verb(lambda: drive(self.link, runs.resume(self.id)))

    # -- what must be true ----------------------------------------------------------------------------

    def assert_consistent(self) -> None:
        """Counters say what nodes say; what is open has its entry; nothing follows the last event."""
        base, head = run_key(self.id), self.head()
        nodes = {name.decode(): NodeField.parse(raw) for name, raw in self.db.hgetall(f"{base}:nodes").items()}
        count = Counter(node.status for node in nodes.values())
        ended = sum(count[status] for status in ENDED)
        if head.ended:
            assert ended == len(self.plan.nodes) and not self.db.exists(f"{base}:open"), self.did
            assert self.log()[-1][0] in TERMINAL, self.did
            return
        fields = {name.decode(): value.decode() for name, value in self.db.hgetall(base).items()}
        assert int(fields["left"]) == len(self.plan.nodes) - ended, self.did
        assert int(fields.get("running", 0)) == count["running"], self.did
        assert int(fields.get("slots", 0)) == count["running"] + count["queued"] + count["waiting"], self.did
        opened = {name.decode(): where.decode() for name, where in self.db.hgetall(f"{base}:open").items()}
        at_work = {name for name, node in nodes.items() if node.status in ("running", "queued", "waiting")}
        assert set(opened) - {""} == at_work, self.did
        for where in opened.values():
            stream, _, entry = where.rpartition(" ")
            assert head.stopping or not stream or self.db.xrange(stream, entry, entry), self.did

    def finish(self) -> None:
        """Let it go on undisturbed: it ends."""
        for _ in range(300):
            if self.head().ended:
                break
            self.resume()
            self.timers()
            for worker in self.workers:
                while worker in self.hands:
                    if self.settled(worker) is not Settled.judge:
                        del self.hands[worker]
                self.take(worker)
            self.assert_consistent()
        assert self.head().ended, (self.did, self.head(), self.db.hgetall(f"{run_key(self.id)}:open"))
        for worker in self.workers:
            self.hands.pop(worker, None)
            worker.may_have_unseen = True
            assert worker.take(stale=self.given_back()) is None
        assert not self.db.xlen(WORK), self.did

    def assert_ended_rightly(self) -> None:
        """One terminal event an epoch, each node ends once in it; with joins of all there is only one result."""
        log = self.log()
        assert not [kind for kind, _ in log if kind == "run.mended"]
        epochs: list[list[tuple[str, str]]] = [[]]
        for kind, node in log:
            if kind == "graph.retried":
                epochs.append([])
            epochs[-1].append((kind, node))
        ends = ("node.completed", "node.failed", "node.skipped", "node.cancelled")
        for epoch in epochs:
            assert [kind in TERMINAL for kind, _ in epoch] == [False] * (len(epoch) - 1) + [True], self.did
            assert max(Counter(node for kind, node in epoch if kind in ends).values(), default=0) <= 1, self.did
        document = self.made.document
        if document["failure"] == "finish" and all(node["join"] == "all" for node in document["nodes"].values()):
            statuses = {view.id: view.status for view in drive(self.link, runs.nodes(self.id)) or []}
            if self.head().status != "cancelled":
                assert statuses == self.undisturbed(), self.did

    def undisturbed(self) -> dict[str, str]:
        """What comes of it where nothing disturbs it, by the model."""
        model = Run(self.plan.places, failure="finish")

        def took(node: str) -> str:
            seen = [(one, model.nodes[one].status) for one in self.made.past[node] if model.sees(node, one)]
            return self.made.took(node, len(self.plan.nodes[node].out), seen)

        def judge(_run: Run, node: str) -> Answer:
            return Answer("completed", took(node))

        model.submit(self.plan.roots, judge)
        while queued := [name for name, node in model.nodes.items() if node.status == "queued"]:
            node, status = queued[0], self.made.outcome(queued[0])
            model.start(node)
            handled = status == "completed" or self.plan.places[node].handled
            model.end(node, status, took(node) if handled else "-", judge)
        return {name: node.status for name, node in model.nodes.items()}

    # -- inside ---------------------------------------------------------------------------------------

    def verb(self, call: Callable[[], object]) -> None:
        """The caller may be told that it can't be."""
        try:
            call()
        except RunError:
            self.did[-1] += " (refused)"

    def head(self) -> runs.Head:
        return drive(self.link, runs.require(self.id))

    def given_back(self) -> list[tuple[str, str]]:
        """What keepers find: nobody has it in hand."""
        rows = self.db.xpending_range(WORK, GROUP, "-", "+", 100, idle=GIVEN_BACK_MS)
        return [(WORK, row["message_id"].decode()) for row in rows]

    def log(self) -> list[tuple[str, str]]:
        records = self.db.lrange(f"{run_key(self.id)}:log", 0, -1)
        return [(kind, node) for kind, _, node, *_ in (record.decode().split("\t") for record in records)]

    def deciding(self) -> Scripted:
        deciding = Scripted(self.id, nothing, {}, dict(self.plan.nodes))
        deciding.made = self.made
        return deciding

    def commit(self, hand: Hand) -> NodeCommit:
        node = hand.node
        status = self.made.outcome(node.node)
        steps = self.deciding()._past(sorted(self.made.past[node.node]), {}, node.node)
        past, assumed = drive(self.link, steps)
        seen = [(name, one.status) for name, one in past.items() if name not in assumed]
        handled = status == "completed" or self.plan.places[node.node].handled
        took = self.made.took(node.node, len(self.plan.nodes[node.node].out), seen) if handled else "-"
        return NodeCommit(
            self.id, node.node, node.epoch, node.attempt, Decided(node.node, status, took, b"null", rest_of(None, {}))
        )

    def settled(self, worker: Consumer) -> Settled:
        """Try to settle once; decide what has to be decided first."""
        hand = self.hands[worker]
        if hand.commit is None or hand.deciding is None:
            hand.commit, hand.deciding = self.commit(hand), self.deciding()
        hand.deciding.local[hand.node.node] = hand.commit.decided
        hand.commit.more = hand.deciding.words()
        ending, missing, _ = hand.claim.settle(hand.commit, take_next=False)
        if ending is Settled.judge:
            steps = hand.deciding.decide(missing)
            hand.claim.ask(lambda link: drive(link, steps))
        return ending


@settings(
    max_examples=EXAMPLES,
    derandomize="PROTOCOL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.integers(0, 2**40))
def test_runs_end_rightly_whatever_is_done_in_whatever_order(
    db: Client, link: Link, consumer: Callable[..., Consumer], seed: int
) -> None:
    """Nothing has to be mended, no node ends twice, the last event is the last."""
    db.flushall()
    chance = random.Random(seed)
    workers = [consumer(f"w.{at}", sources=Sources(RUNS, DOCUMENTS)) for at in range(3)]
    disorder = Disorder(chance, db, link, workers)
    for _ in range(STEPS):
        disorder.act()
    disorder.finish()
    disorder.assert_ended_rightly()
