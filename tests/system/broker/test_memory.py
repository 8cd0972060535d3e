"""What scripts write when the server's memory is full, or entries are trimmed by force."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from executor_worker.broker import GROUP, Consumer, Link, Settled
from executor_worker.broker.queue.dead_letters import find, requeue
from executor_worker.errors import StreamUnavailable
from tests.unit.executor_worker.broker.acts import (
    WORK,
    Client,
    bury,
    commit,
    digest,
    events,
    pending,
    push,
    settle,
    snapshot,
    take,
)

Make = Callable[..., Consumer]


def test_requeue_with_full_memory_changes_nothing(db: Client, link: Link) -> None:
    """The letter stays where it is."""
    db.set("dago:state:g", json.dumps({"graph_id": "g", "node_states": {"n": {"status": "failed"}}}))
    letter = find(link, bury(db))[0]
    before = snapshot(db)
    db.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StreamUnavailable, match="OOM"):
            requeue(link, letter, ttl_s=60)
    finally:
        db.config_set("maxmemory", "0")
    assert snapshot(db) == before


def test_a_trimmed_entry_is_committed_by_force(db: Client, consumer: Make) -> None:
    """A producer trimmed it and its row was dropped: nobody else can run it, the result counts."""
    entry = push(db)
    worker = consumer()
    taken = take(worker)
    db.xdel(WORK, entry)
    db.xautoclaim(WORK, GROUP, "sweeper", 10**9)
    assert not pending(db)
    db.set("dago:state:g", "{}")
    before = snapshot(db)
    assert worker.settle(taken.held, commit(), take_next=True) == (Settled.trimmed, b"{}", None)
    assert snapshot(db) == before
    assert settle(worker, taken, commit(expected=digest(b"{}")), force=True) is Settled.settled
    assert settle(worker, taken, commit(), force=True) is Settled.already
    assert events(db) == [b"event"]
