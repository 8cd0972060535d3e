"""A key of another type than the scripts of runs expect: a node's end is written whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor_worker.broker import Consumer, Link, Settled
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.names import MARKERS, WORK_STREAMS, expiries_key, listing_key, looks_key, run_key
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from executor_worker.errors import StreamError
from tests.system.broker.graphs.play import Client, Made, Play
from tests.unit.executor_worker.broker.acts import snapshot

CHAIN = Made(
    0,
    {
        "nodes": {name: {"type": "tool", "config": {"tool_name": "x"}, "on_failure": "continue"} for name in "ab"},
        "edges": [{"from": "a", "to": "b", "on": "always"}],
    },
    {"a": set(), "b": {"a"}},
)
GRAPH_EVENTS = "dago:events:graph.events"


@pytest.fixture
def play(db: Client, link: Link, consumer: Callable[..., Consumer]) -> Play:
    """A run of one node after the other, the first in a worker's hand."""
    worker = consumer("w.1", sources=Sources(RUNS, DOCUMENTS))
    play = Play(CHAIN, db, link, [worker], window=1)
    play.take(worker)
    return play


def settled(play: Play) -> None:
    (worker,) = play.workers
    while play.settle(worker) is not Settled.settled:
        pass


@pytest.mark.parametrize(
    "key", [MARKERS, WORK_STREAMS[0], GRAPH_EVENTS, "nodes", "open", "log", "outputs", "ended", "expiries", "journals"]
)
def test_a_nodes_end_is_written_whole(play: Play, db: Client, key: str) -> None:
    """The first end queues a node, the second ends the run: each of their keys, and three tries."""
    base = run_key(play.id)
    own = ("nodes", "open", "log", "outputs", "journals")
    name = {"ended": listing_key("completed"), "expiries": expiries_key()}.get(
        key, f"{base}:{key}" if key in own else key
    )
    if key in (GRAPH_EVENTS, "ended", "expiries", "outputs", "journals"):
        settled(play)
        play.take(play.workers[0])
    kept = db.dump(name)
    db.delete(name)
    db.set(name, "somebody else's")
    there = snapshot(db)
    for _ in range(3):
        with pytest.raises(StreamError, match="WRONGTYPE"):
            settled(play)
    assert snapshot(db) == there
    db.delete(name)
    if kept:
        db.restore(name, 0, kept)
    settled(play)
    play.compare()


@pytest.mark.parametrize("key", [looks_key(), listing_key(), listing_key("running"), GRAPH_EVENTS, WORK_STREAMS[0]])
def test_a_run_is_accepted_whole(db: Client, link: Link, key: str) -> None:
    """What is refused leaves no run behind: only its plan, which expires."""
    db.set(key, "somebody else's")
    with pytest.raises(StreamError, match="WRONGTYPE"):
        Play(CHAIN, db, link, [], window=1)
    left = [name.decode() for name in db.keys("*run:*")]
    assert not [name for name in left if not name.endswith((":plan", ":edges"))]
