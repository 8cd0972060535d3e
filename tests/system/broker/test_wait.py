"""Waiting for work: by a blocking read, woken by entries and by bells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from executor_worker.broker import Consumer
from tests.kit import Stopwatch
from tests.system.broker.bells import once_it_waits, ring
from tests.unit.executor_worker.broker.acts import Client, push, take

Make = Callable[..., Consumer]


def test_wait_is_woken_by_an_entry(db: Client, consumer: Make, event_fd: int) -> None:
    """Waiting ends as soon as something is added."""
    worker = consumer("w.1")
    worker.take()
    db.set("dago:state:g", "{}")
    started = Stopwatch()
    with once_it_waits(db, partial(push, db)):
        taken = worker.wait(event_fd, 30)
    assert taken is not None and taken.held.count == 1 and started.own_s() < 5
    assert taken.delivery.brought == [b"dago:state:g", b"{}"]


def test_wait_is_woken_by_the_bell(db: Client, consumer: Make, event_fd: int) -> None:
    """An idle worker leaves at once, whatever its read waits for; its connection stays good."""
    worker = consumer("w.1")
    worker.take()
    number = worker.client_id
    started = Stopwatch()
    with once_it_waits(db, partial(ring, event_fd)):
        assert worker.wait(event_fd, 30) is None
    assert started.own_s() < 5
    assert worker.client_id == number and not worker.may_have_unseen
    assert worker.wait(event_fd, 30) is None, "the bell is still readable: no waiting at all"
    entry = push(db)
    assert take(worker).held.entry == entry


def test_wait_ends_with_its_time(consumer: Make, event_fd: int) -> None:
    """Nothing came, nobody rang."""
    worker = consumer()
    started = Stopwatch()
    assert worker.wait(event_fd, 0.05) is None
    assert started.wall_s() > 0.04 and started.own_s() < 5
