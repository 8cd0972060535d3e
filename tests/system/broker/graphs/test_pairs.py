"""Two things at once, and replies that are lost: each pair, in the order that hurts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from executor_worker.broker import Consumer, Link, Settled
from executor_worker.broker.graphs import IdempotencyMismatch, TooManyRuns, drive, runs
from executor_worker.broker.graphs.duties import work_off
from executor_worker.broker.graphs.records import Decided, mirrored, rest_of
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.graphs.settling import NodeCommit
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.graphs.taken import TakenNode, taken_of
from executor_worker.broker.names import (
    COMPLETED_STREAM,
    FAILED_STREAM,
    GROUP,
    looks_key,
    run_key,
    steps_stream,
    timers_key,
)
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.journal import JournalKeys, Kept
from executor_worker.broker.queue.source import Sources
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client, Made, Play, nothing

Make = Callable[..., Consumer]
SOURCES = Sources(RUNS, DOCUMENTS)


def chain(*names: str) -> dict[str, Any]:
    """Nodes one after the other."""
    nodes = {name: {"type": "tool", "config": {"tool_name": "x"}} for name in names}
    return {"nodes": nodes, "edges": [{"from": a, "to": b} for a, b in pairwise(names)]}


class Plain(Made):
    """Everything completes, every edge is taken."""

    def outcome(self, node: str) -> str:
        return "completed"

    def took(self, node: str, count: int, seen: Iterable[tuple[str, str]]) -> str:
        return "*"


def made(document: dict[str, Any]) -> Made:
    """A graph of which everything completes and every edge is taken."""
    names = list(document["nodes"])
    past = {name: set(names[:at]) for at, name in enumerate(names)}
    return Plain(1, document, past)


@pytest.fixture
def play(db: Client, link: Link, consumer: Make) -> Callable[..., Play]:
    """Submit a chain, played by two workers."""

    def begin(*names: str) -> Play:
        return Play(
            made(chain(*names)),
            db,
            link,
            [consumer("w.1", sources=SOURCES), consumer("w.2", sources=SOURCES)],
            window=500,
        )

    return begin


def log(db: Client, graph_id: str) -> list[bytes]:
    return list(db.lrange(f"{run_key(graph_id)}:log", 0, -1))


def test_settle_whose_reply_was_lost_finds_its_own_commit(db: Client, play: Callable[..., Play]) -> None:
    """Successors are queued once, the log says everything once."""
    run = play("a", "b")
    worker = run.workers[0]
    run.take(worker)
    hand = run.hands[worker]
    assert run.settle(worker) is Settled.settled
    before = log(db, run.id)
    assert hand.commit is not None
    assert worker.settle(hand.claim.held, hand.commit, take_next=False).ending is Settled.already
    assert log(db, run.id) == before and db.xlen("executor.work") == 1


def take_and_lose_that(run: Play, worker: Consumer, db: Client) -> None:
    """A worker takes a node; Redis loses its last writes."""
    db.xgroup_create("executor.work", GROUP, "0")
    before = {key: db.dump(key) for key in db.keys("*")}
    run.take(worker)
    for key in db.keys("*"):
        if key in before:
            db.restore(key, 0, before[key], replace=True)
        else:
            db.delete(key)


def test_failure_whose_start_redis_has_lost_is_mirrored_as_itself(db: Client, link: Link, consumer: Make) -> None:
    """For orchestrators that read the completed events alone: not the start, which is told anew just before it."""
    worker = consumer("w.1", sources=SOURCES, failures="always")
    run = Play(made(chain("a", "b")), db, link, [worker], window=500)
    take_and_lose_that(run, worker, db)
    hand = run.hands[worker]
    mirror = mirrored("node.failed", run.id, "a", {"error": "it broke"})
    failed = Decided("a", "failed", "-", rest=rest_of("it broke", {}), stream=FAILED_STREAM, mirror=mirror)
    commit = NodeCommit(run.id, "a", hand.node.epoch, hand.node.attempt, failed)
    assert worker.settle(hand.claim.held, commit, take_next=False).ending is Settled.settled
    (own,), (copy,) = (db.xrange(stream) for stream in (FAILED_STREAM, COMPLETED_STREAM))
    assert copy[1] == own[1] and json.loads(copy[1][b"data"])["data"]["error"] == "it broke"


@pytest.mark.parametrize("then", ["nothing", "a look", "a hold"])
def test_start_that_redis_has_lost_is_made_up_for_by_the_settle(
    db: Client, play: Callable[..., Play], link: Link, then: str
) -> None:
    """Redis knows of the node what it knew before: its holder's end counts, and nothing is left of its item."""
    run = play("a", "b")
    worker = run.workers[0]
    take_and_lose_that(run, worker, db)
    if then == "a look":
        db.zadd(looks_key(), {run.id: 0})
        assert drive(link, work_off()).mended == 0
    if then == "a hold":
        drive(link, runs.hold(run.id))
        drive(link, runs.resume(run.id))
    hand = run.hands[worker]
    assert worker.settle(hand.claim.held, run._commit(hand.node), take_next=False).ending is Settled.settled
    kinds = [record.split(b"\t")[0].decode() for record in log(db, run.id)]
    again = ["node.queued"] if then == "a hold" else []
    started = ["graph.submitted", "node.queued", *again, "graph.started", "node.started"]
    assert kinds == [*started, "node.completed", "node.queued"]
    statuses = {view.id: view.status for view in drive(link, runs.nodes(run.id)) or []}
    assert statuses == {"a": "completed", "b": "queued"}
    assert db.xlen("executor.work") == 1 and not db.xpending("executor.work", GROUP)["pending"]
    db.zadd(looks_key(), {run.id: 0})
    assert drive(link, work_off()).mended == 0


def test_node_that_fails_while_its_run_is_held_is_not_begun_again(
    db: Client, play: Callable[..., Play], link: Link
) -> None:
    """Its next attempt follows when the run goes on."""
    run = play("a")
    worker = run.workers[0]
    run.take(worker)
    drive(link, runs.hold(run.id))
    hand = run.hands[worker]
    commit = replace(run._commit(hand.node), delay_ms=0)
    assert worker.settle(hand.claim.held, commit, take_next=True).next is None
    assert [view.status for view in drive(link, runs.nodes(run.id)) or []] == ["ready"]
    db.zadd(looks_key(), {run.id: 0})
    assert drive(link, work_off()).mended == 0, "a run that is held has nothing on its way, and is well"
    drive(link, runs.resume(run.id))
    claim = worker.take()
    assert claim is not None
    taken = taken_of(claim.delivery.brought)
    assert isinstance(taken, TakenNode) and taken.attempt == 2


def test_late_settle_after_cancel_and_its_timer_changes_nothing(
    db: Client, play: Callable[..., Play], link: Link
) -> None:
    """What can't be reached is ended by the timer; its own end comes late, also after the run was retried."""
    run = play("a", "b")
    worker = run.workers[0]
    run.take(worker)
    drive(link, runs.cancel(run.id))
    assert drive(link, runs.require(run.id)).stopping
    (member,) = [name for name in db.zrange(timers_key(), 0, -1) if b"\tstop\t" in name]
    db.zadd(timers_key(), {member: 0})
    assert drive(link, work_off()).fired == 1
    assert drive(link, runs.require(run.id)).ended
    before = log(db, run.id)
    assert before[-1].startswith(b"graph.cancelled") and before[-2].startswith(b"node.cancelled")
    drive(link, runs.retry(run.id))
    drive(link, runs.step(run.id, nothing))
    retried = log(db, run.id)
    hand = run.hands[worker]
    journal = JournalKeys(link, hand.claim.held, ttl_s=9, run=(run_key(run.id), "a"))
    assert journal.append("journal", -1, [b"{}"], [], log=[("llm.called", b"{}")]) is Kept.fenced
    commit = run._commit(hand.node)
    assert worker.settle(hand.claim.held, commit, take_next=False).ending in (Settled.late, Settled.fenced)
    assert log(db, run.id) == retried
    assert {view.id: view.status for view in drive(link, runs.nodes(run.id)) or []} == {"a": "queued", "b": "pending"}


def test_no_journal_of_a_large_run_stays_for_ever(db: Client, play: Callable[..., Play], link: Link) -> None:
    """The run's end names a thousand; those beyond have an item's time to live from the start, renewed as they grow."""
    run = play("a")
    worker = run.workers[0]
    run.take(worker)
    held = run.hands[worker].claim.held
    journal = JournalKeys(link, held, ttl_s=9, run=(run_key(run.id), "a"))
    assert journal.append("first", 0, [b"{}"], []) is Kept.kept
    assert db.ttl("first") == -1
    db.rpush(f"{run_key(run.id)}:journals", *(f"other-{n}" for n in range(999)))
    assert journal.append("late", 0, [b"{}"], []) is Kept.kept
    assert 0 < db.pttl("late") <= 9_000
    db.pexpire("late", 500)
    assert journal.append("late", 1, [b"{}"], []) is Kept.kept
    assert db.pttl("late") > 500
    assert journal.append("late", -1, [b"{}"], []) is Kept.kept
    assert db.pttl("late") > 500


def test_cancel_while_a_worker_holds_a_step_of_the_run(db: Client, play: Callable[..., Play], link: Link) -> None:
    """A retry's first step was just taken: the cancel counts, and the step finds nothing left to do."""
    run = play("a")
    drive(link, runs.cancel(run.id))
    drive(link, runs.step(run.id, nothing))
    assert drive(link, runs.require(run.id)).ended
    drive(link, runs.retry(run.id))
    db.xgroup_create(steps_stream(), GROUP, "0")
    held = db.xreadgroup(GROUP, "someone", {steps_stream(): ">"})
    assert held
    drive(link, runs.cancel(run.id))
    drive(link, runs.step(run.id, nothing))
    about = drive(link, runs.require(run.id))
    assert (about.status, about.ended, about.epoch) == ("cancelled", True, 2)


def test_item_of_a_cancelled_run_is_not_started(db: Client, play: Callable[..., Play], link: Link) -> None:
    """Taken back at once: whoever asks gets nothing, and nothing is left in the stream."""
    run = play("a")
    assert drive(link, runs.cancel(run.id)).queued == 1
    assert run.workers[0].take() is None
    assert not db.xlen("executor.work") and not db.xpending("executor.work", GROUP)["pending"]


def test_two_siblings_ending_at_once_queue_their_join_once(db: Client, link: Link, consumer: Make) -> None:
    """Both have decided before either has settled."""
    document = chain("a", "b", "c")
    document["edges"] = [{"from": "a", "to": "c"}, {"from": "b", "to": "c"}]
    run = Play(
        made(document), db, link, [consumer("w.1", sources=SOURCES), consumer("w.2", sources=SOURCES)], window=500
    )
    for worker in run.workers:
        run.take(worker)
    for worker in run.workers:
        assert run.settle(worker) is Settled.settled
    run.compare()
    assert db.xlen("executor.work") == 1


def submission(graph_id: str = "", **more: Any) -> Steps[runs.Submitted]:
    graph = Graph.read(chain("a", "b"))
    return runs.submit(runs.Submission(graph, {"q": 1}, graph_id or runs.new_graph_id(), **more))


def test_submit_whose_reply_was_lost_makes_no_second_run(db: Client, link: Link) -> None:
    """The same id again finds the run, and queues nothing."""
    graph_id = runs.new_graph_id()
    first, again = (drive(link, submission(graph_id)) for _ in range(2))
    assert first == again and db.xlen("executor.work") == 1
    assert db.ttl(f"{run_key(graph_id)}:plan") == -1


def test_idempotency_key_makes_one_run(db: Client, link: Link) -> None:
    """The same body finds it, another body is refused; of a run that is gone that is told."""
    first = drive(link, submission(idempotency_key="me:1", body_digest="x"))
    again = drive(link, submission(idempotency_key="me:1", body_digest="x"))
    assert (again.graph_id, again.status, again.replayed) == (first.graph_id, "submitted", True)
    with pytest.raises(IdempotencyMismatch):
        drive(link, submission(idempotency_key="me:1", body_digest="y"))
    assert db.xlen("executor.work") == 1 and not [
        key for key in db.keys("*:plan") if first.graph_id.encode() not in key
    ]
    drive(link, runs.cancel(first.graph_id))
    drive(link, runs.delete(first.graph_id))
    assert drive(link, submission(idempotency_key="me:1", body_digest="x")).status == "deleted"


def test_no_more_runs_than_allowed(link: Link) -> None:
    """The limit counts those that have not ended."""
    first = drive(link, submission(max_active=1))
    with pytest.raises(TooManyRuns):
        drive(link, submission(max_active=1))
    drive(link, runs.cancel(first.graph_id))
    drive(link, submission(max_active=1))


def test_lost_entries_are_queued_again_with_the_same_attempt(db: Client, play: Callable[..., Play], link: Link) -> None:
    """A look finds what is neither pending nor still to come, and what is well is left alone."""
    run = play("a", "b")
    assert drive(link, work_off()).mended == 0
    db.delete("executor.work")
    db.zadd("dago:{executor.work}:looks", {run.id: 0})
    assert drive(link, work_off()).mended == 1
    db.zadd("dago:{executor.work}:looks", {run.id: 0})
    assert drive(link, work_off()).mended == 0
    (_, fields), *_ = db.xrange("executor.work")
    assert json.loads(fields[b"data"])["run"] == {"v": 1, "epoch": 1, "attempt": 1}
    kinds = [record.split(b"\t")[0] for record in log(db, run.id)]
    assert kinds == [b"graph.submitted", b"node.queued", b"node.queued", b"run.mended"]


def test_after_a_restart_every_run_is_looked_at_at_once(db: Client, play: Callable[..., Play], link: Link) -> None:
    """Whatever time it was to be looked at: what was lost is queued again, and each run is looked at once, not more."""
    lost, well = play("a"), play("a")
    (entry, _), *_ = db.xrange("executor.work")
    db.xdel("executor.work", entry)
    before = {name: db.zscore(looks_key(), name) for name in (lost.id, well.id)}
    assert drive(link, work_off()).mended == 0, "it is not time yet"
    due = drive(link, work_off(hurry=True))
    assert due.mended == 1 and due.next_s is not None and due.next_s > 1
    after = {name: db.zscore(looks_key(), name) for name in (lost.id, well.id)}
    assert all(after[name] > before[name] for name in before)
    assert drive(link, work_off(hurry=True)).mended == 0
    assert {name: db.zscore(looks_key(), name) for name in before} == after, "a second keeper finds it done"


def test_many_runs_are_looked_at_in_turns(db: Client, link: Link) -> None:
    """No more than so many at once, ten times as many in a hurry."""
    db.zadd(looks_key(), {f"gone{at}": at for at in range(3000)})  # each look finds that there is no such run
    drive(link, work_off())
    assert 2600 <= db.zcard(looks_key()) < 2900
    drive(link, work_off(hurry=True))
    assert 600 <= db.zcard(looks_key()) < 900


def test_run_without_anything_on_its_way_is_begun_anew(db: Client, play: Callable[..., Play], link: Link) -> None:
    """Its nodes say what has ended: the rest is decided from that."""
    run = play("a", "b", "c")
    worker = run.workers[0]
    run.take(worker)
    run.settle(worker)
    db.delete("executor.work", f"{run_key(run.id)}:open")
    db.zadd("dago:{executor.work}:looks", {run.id: 0})
    assert drive(link, work_off()).mended == 1
    run.take(worker)  # the step that does it
    statuses = {view.id: view.status for view in drive(link, runs.nodes(run.id)) or []}
    assert statuses == {"a": "completed", "b": "queued", "c": "pending"}
    assert db.xlen("executor.work") == 1


def test_expired_runs_leave_the_lists(db: Client, play: Callable[..., Play], link: Link) -> None:
    """What was kept for its time after the end is gone everywhere."""
    run = play("a")
    drive(link, runs.cancel(run.id))
    assert drive(link, runs.listing(runs.Filter())).total == 1
    db.zadd("dago:{executor.work}:expiries", {run.id: 0})
    drive(link, work_off())
    assert drive(link, runs.listing(runs.Filter())).total == 0
    assert drive(link, runs.listing(runs.Filter(status="cancelled"))).total == 0


def test_play_is_not_the_same_for_all_seeds() -> None:
    """The graphs made up differ: else little would be tried."""
    assert len({json.dumps(Made.by(random.Random(seed)).document) for seed in range(20)}) > 10
