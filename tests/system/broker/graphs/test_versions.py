"""Runs of a newer layout: older workers leave them to newer ones, older scripts refuse them before they write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from executor_worker.broker import Consumer, Link, Settled
from executor_worker.broker.connection.script import LuaText
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.duties import work_off
from executor_worker.broker.graphs.scripts import cancel_script
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.names import GROUP, PARKED, looks_key, run_key, steps_stream, timers_key
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.gates import GATES
from executor_worker.broker.queue.source import Sources
from executor_worker.broker.queue.waits import survey
from executor_worker.errors import StreamError
from tests.system.broker.graphs.play import Client, Made, Play, nothing
from tests.unit.executor_worker.broker.acts import snapshot

NEWER = LuaText("newer", "newest_layout = 2")
"""A part that makes a program of what reads layout 1 one that reads layout 2 too."""
OLD = Sources(RUNS, DOCUMENTS)
NEW = Sources(replace(RUNS, lua=(NEWER, *RUNS.lua)), DOCUMENTS)
STREAMS = ("executor.work", steps_stream())
CHAIN = Made(
    0,
    {
        "nodes": {name: {"type": "tool", "config": {"tool_name": "x"}, "on_failure": "continue"} for name in "ab"},
        "edges": [{"from": "a", "to": "b", "on": "always"}],
    },
    {"a": set(), "b": {"a"}},
)


@pytest.fixture
def old(consumer: Callable[..., Consumer]) -> Consumer:
    """A worker of today's program."""
    return consumer("old.1", sources=OLD)


@pytest.fixture
def new(consumer: Callable[..., Consumer]) -> Consumer:
    """One of a program that has learned a newer layout."""
    return consumer("new.1", sources=NEW)


@pytest.fixture
def play(db: Client, link: Link, old: Consumer) -> Play:
    """A run that a newer program has submitted, its first node queued."""
    play = Play(CHAIN, db, link, [old], window=5)
    db.hset(run_key(play.id), "v", 2)
    return play


def test_item_waits_for_a_worker_that_reads_it(
    db: Client, link: Link, play: Play, old: Consumer, new: Consumer
) -> None:
    """Older workers give it back uncounted, once; a newer one has it at its next take, and it is the first attempt."""
    assert old.take() is None and old.take() is None
    (entry, _), *_ = db.xrange("executor.work")
    assert db.hexists(PARKED, f"executor.work {entry.decode()}")
    (row,) = db.xpending_range("executor.work", GROUP, "-", "+", 10)
    assert row["times_delivered"] == 1, "it does not spin between older workers"
    assert {view.status for view in drive(link, runs.nodes(play.id)) or []} == {"waiting", "pending"}
    claim = new.take()
    assert claim is not None and claim.held.attempt == 1 and claim.delivery.brought[0] == b"node"
    assert not db.exists(PARKED)


def test_keepers_offer_it_to_newer_workers_only(link: Link, play: Play, old: Consumer) -> None:
    """What may be taken now is for those who can."""
    assert play.id and old.take() is None
    assert not survey(link, "old", STREAMS, [], place_s=10.0, most=5).ready
    ready = survey(link, "new", STREAMS, [], place_s=10.0, most=5, gates=(*GATES, NEWER)).ready
    assert [stream for stream, _ in ready] == ["executor.work"]


def test_step_of_a_newer_run_waits_too(db: Client, play: Play, old: Consumer, new: Consumer) -> None:
    """What is left of a run is done by a program that knows how it is stored."""
    db.delete("executor.work")
    step = f'{{"graph_id":"{play.id}","step":"step","v":2}}'
    db.xadd(steps_stream(), {"data": step})
    assert old.take() is None and db.hlen(PARKED) == 1
    claim = new.take()
    assert claim is not None and claim.delivery.brought[0] == b"step"


def test_cancelled_run_takes_back_what_waits_for_a_newer_worker(
    db: Client, link: Link, play: Play, old: Consumer
) -> None:
    """Nothing of it is left to wait for."""
    assert old.take() is None
    newer = replace_layout(cancel_script().source)
    assert link.batch([(b"EVAL", newer, 1, run_key(play.id))])[0][0] == b"cancelled"
    assert not db.xlen("executor.work") and not db.exists(PARKED)


def replace_layout(source: bytes) -> bytes:
    """The same script, of a newer program."""
    newer = source.replace(b"local newest_layout=1", b"local newest_layout=2")
    assert newer != source
    return newer


def test_older_scripts_refuse_before_they_write(db: Client, link: Link, play: Play) -> None:
    """Cancel, hold, retry, delete and step say which layout it is and what to do; nothing has changed."""
    there = snapshot(db)
    for verb in (runs.cancel, runs.hold, runs.delete, lambda name: runs.step(name, nothing)):
        with pytest.raises(StreamError, match="kept in layout 2, this program reads up to 1: upgrade it"):
            drive(link, verb(play.id))
    assert snapshot(db) == there


def test_duties_of_older_keepers_leave_it_alone_and_go_on(db: Client, link: Link, play: Play) -> None:
    """Its timers and looks stay for a newer keeper; those of other runs behind them are done."""
    other = Play(CHAIN, db, link, [], window=5)
    member = f"{play.id}\t\ttimeout\t1\t0"
    db.zadd(timers_key(), {member: 1, f"{other.id}\t\ttimeout\t1\t0": 2})
    db.zadd(looks_key(), {play.id: 1, other.id: 2})
    due = drive(link, work_off())
    assert (due.fired, due.next_s) == (1, None)
    assert drive(link, runs.require(other.id)).status == "failed"
    assert db.zscore(timers_key(), member) == 1 and db.zscore(looks_key(), play.id) == 1


def test_a_run_of_before_stays_one_that_older_workers_serve(
    db: Client, link: Link, old: Consumer, new: Consumer
) -> None:
    """Two versions of the scripts on one run: each takes what the other has queued."""
    play = Play(CHAIN, db, link, [old, new], window=5)
    play.take(new)
    assert play.settle(new) is Settled.settled
    play.take(old)
    assert play.settle(old) is Settled.settled
    play.compare()
    assert drive(link, runs.require(play.id)).ended
