"""A Redis that is nearly full: no run is accepted, those that are there go on to their ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from executor_worker.broker import Consumer, Link, Settled
from executor_worker.broker.graphs import RedisFull, drive, runs
from executor_worker.broker.graphs.memory import SAMPLE_S, Room
from executor_worker.broker.graphs.requests import Request, Steps
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from executor_worker.graph.definition import Graph
from tests.system.broker.graphs.play import Client, Made, Play
from tests.unit.executor_worker.broker.acts import snapshot

NODE = {"type": "tool", "config": {"tool_name": "x"}, "on_failure": "continue"}
CHAIN = Made(
    0, {"nodes": {"a": NODE, "b": NODE}, "edges": [{"from": "a", "to": "b", "on": "always"}]}, {"a": set(), "b": {"a"}}
)


@pytest.fixture
def limit(db: Client) -> Iterator[Callable[[float], None]]:
    """Set `maxmemory` so that this share of it is used; with so much there that little more changes nothing."""
    db.setrange("ballast", 2**25, "x")

    def to(share: float) -> None:
        db.config_set("maxmemory", int(db.info("memory")["used_memory"] / share))

    yield to
    db.config_set("maxmemory", 0)


def test_submit_is_refused_above_nine_tenths_and_runs_go_on(
    db: Client, link: Link, consumer: Callable[..., Consumer], limit: Callable[[float], None]
) -> None:
    """The sentence says how full it is and what to do; nothing is written; nodes are taken and settled to the end."""
    worker = consumer("w.1", sources=Sources(RUNS, DOCUMENTS))
    play = Play(CHAIN, db, link, [worker], window=5)
    limit(0.95)
    there = snapshot(db)
    with pytest.raises(RedisFull, match=r"full to 9\d % of its maxmemory .* raise maxmemory"):
        drive(link, runs.submit(runs.Submission(Graph.read(CHAIN.document), {}, runs.new_graph_id())))
    assert snapshot(db) == there
    for _ in "ab":
        play.take(worker)
        assert play.settle(worker) is Settled.settled
    assert drive(link, runs.require(play.id)).ended
    limit(0.8)
    drive(link, runs.submit(runs.Submission(Graph.read(CHAIN.document), {}, runs.new_graph_id())))


def test_submit_is_refused_while_redis_takes_no_writes(db: Client, link: Link, limit: Callable[[float], None]) -> None:
    """What it says of itself is no riddle for who submits."""
    limit(2)
    with pytest.raises(RedisFull, match=r"full up to its maxmemory: no run is accepted.* raise maxmemory"):
        _submit(link, Room())


def test_a_process_looks_once_a_second(db: Client, link: Link, limit: Callable[[float], None]) -> None:
    """Between two looks it goes by what it knows, and asks for nothing."""
    now = 0.0
    room = Room(lambda: now)
    _submit(link, room)
    limit(0.95)
    _submit(link, room)
    now += SAMPLE_S
    with pytest.raises(RedisFull):
        _submit(link, room)
    limit(0.5)
    there = snapshot(db)
    with pytest.raises(RedisFull):
        _submit(link, room)
    assert snapshot(db) == there
    now += SAMPLE_S
    _submit(link, room)


def test_submit_is_one_exchange(link: Link) -> None:
    """Also the first one of a process, which looks at the server's memory."""
    exchanges: list[Sequence[Request]] = []

    def counted(steps: Steps[runs.Submitted]) -> Steps[runs.Submitted]:
        requests = next(steps)
        while True:
            exchanges.append(requests)
            try:
                requests = steps.send((yield requests))
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    drive(link, counted(runs.submit(_submission(Room()))))
    assert len(exchanges) == 1


def test_repeated_submit_finds_its_run_in_a_full_redis(link: Link, limit: Callable[[float], None]) -> None:
    """It asks for no room: what was accepted is kept."""
    first, again = (_submission(Room(), idempotency_key="me:once") for _ in range(2))
    accepted = drive(link, runs.submit(first))
    limit(0.95)
    found = drive(link, runs.submit(again))
    assert found.replayed and found.graph_id == accepted.graph_id


def _submit(link: Link, room: Room) -> None:
    drive(link, runs.submit(_submission(room)))


def _submission(room: Room, **more: Any) -> runs.Submission:
    return runs.Submission(Graph.read(CHAIN.document), {}, runs.new_graph_id(), room=room, **more)
