"""Queues: which streams a pool reads, in which order, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from executor_worker.broker import WORK_STREAMS, Consumer, Link
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.queues import known_streams, ranked
from executor_worker.broker.queue.source import Source, Sources
from executor_worker.envelopes.queue_name import is_queue_name, named_queue
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, push, settle, take

Make = Callable[..., Consumer]
GPU, SLOW = "executor.work:gpu", "executor.work:slow"


def serving(*queues: str) -> Sources:
    return Sources(replace(DOCUMENTS, streams=(), ranked=ranked(queues)))


def test_preferred_queue_is_emptied_first(db: Client, consumer: Make) -> None:
    """Whatever was added before to others; the streams of one queue take turns."""
    worker = consumer("w.1", sources=serving("gpu", "default", "slow"))
    assert worker.take() is None
    for stream in (SLOW, WORK, WORK, EVENTS, EVENTS, GPU, GPU):
        push(db, stream=stream)
    seen = []
    for _ in range(7):
        taken = take(worker)
        settle(worker, taken)
        seen.append(taken.held.stream)
        db.delete("dago:state:g")
    assert seen[:2] == [GPU, GPU] and seen[6] == SLOW
    assert seen[2] != seen[3] and set(seen[2:6]) == {WORK, EVENTS}


def test_queue_that_is_not_served_is_left_alone(db: Client, consumer: Make) -> None:
    """By takes, by settling's next, and by what is said to be stale on it."""
    entry = push(db, stream=GPU)
    others = consumer("gpu.1", sources=serving("gpu"))
    taken = take(others)
    assert taken.held.entry == entry
    worker = consumer("w.1")
    assert worker.take() is None
    assert others.release(taken.held, counted=True)
    assert worker.take() is None
    assert take(others, stale=[(GPU, entry)]).held.entry == entry


def test_item_parked_on_another_queue_is_not_taken(db: Client, consumer: Make) -> None:
    """It waits for the same model, and is not ours all the same."""
    gpu, plain = consumer("gpu.1", sources=serving("gpu")), consumer("w.1")
    first, second = push(db, stream=GPU), push(db)
    for worker in (gpu, plain):
        taken = take(worker)
        assert worker.park(taken.held, "dago:throttle:p:a:m", 0)
    assert take(plain).held.entry == second
    assert plain.take() is None
    assert take(gpu).held.entry == first


def test_equals_take_turns_with_the_ranks_of_others() -> None:
    """A kind of work with streams of its own is not starved by preferred queues, nor are two equal streams by it."""
    ranks = replace(DOCUMENTS, streams=(), ranked=ranked(("gpu", "default")))
    jobs = Source("job", ("jobs:a", "jobs:b"), (), (), urgent=("now",))
    orders = Sources(ranks, jobs).orders()
    assert all(order[0] == "now" and sorted(order) == sorted(Sources(ranks, jobs).streams) for order in orders)
    assert all(order.index(GPU) < order.index(WORK) for order in orders)
    firsts = [order[1] for order in orders]
    assert {firsts.count(stream) for stream in (GPU, "jobs:a", "jobs:b")} == {2}
    led = [order for order in orders if order[1] == GPU]
    assert {order[2] for order in led} == set(WORK_STREAMS)


def test_queues_that_were_served_are_known(db: Client, consumer: Make, link: Link) -> None:
    """To whoever shows or mends all there is; one whose streams are gone is forgotten, its own are always there."""
    assert known_streams(link) == WORK_STREAMS
    assert consumer("w.1", sources=serving("gpu", "slow")).take() is None
    assert known_streams(link) == (*WORK_STREAMS, GPU, SLOW)
    db.delete(SLOW)
    assert known_streams(link) == (*WORK_STREAMS, GPU)
    db.xadd(f"{SLOW}:dead", {"data": "x"})
    assert known_streams(link, ["gpu", "other"]) == (*WORK_STREAMS, GPU, "executor.work:other", SLOW)


@pytest.mark.parametrize("name", ["gpu", "default", "tenant-4_B", "x" * 64])
def test_queue_names_are_taken(name: str) -> None:
    assert is_queue_name(name)


@pytest.mark.parametrize(
    "name", ["", "dead", "forgiven", "none", "a:dead", "a b", "a*", "x" * 65, "größe", 3, None, ["gpu"]]
)
def test_what_would_be_another_key_is_no_queue(name: object) -> None:
    """`dead` is where dead letters lie, and a colon would name the dead letters of another queue."""
    assert not is_queue_name(name)
    assert named_queue({"queue": name}) == ""
