"""Leases and sweeps that a real server alone shows: its size, its messages, its users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import Consumer, Link
from executor_worker.broker.names import SWEEPER_PREFIX
from executor_worker.broker.queue.consumers import (
    prune_consumers,
    prune_uncounted,
)
from executor_worker.broker.queue.releases import Releases
from executor_worker.broker.queue.stale import Sweeper
from executor_worker.errors import StreamUnavailable
from tests.kit import RedisServer, Stopwatch, wait_until
from tests.unit.executor_worker.broker.acts import WORK, Client, fill, push, take

Make = Callable[..., Consumer]


def test_one_idle_entry_behind_50000_live_ones_is_found_in_one_pass(db: Client, link: Link) -> None:
    """However far behind, with a bounded share of the server's time in each call."""
    [last] = fill(db, 50_001, {50_000: 60_000})
    sweeper = Sweeper(link, lease_s=30)
    db.config_resetstat()
    started = Stopwatch()
    assert sweeper.stale(4) == [(WORK, last)]
    assert started.own_s() < 5
    stats = db.info("commandstats")["cmdstat_evalsha"]
    assert stats["calls"] >= 50
    held_up_us = stats["usec"] - started.others_s() * 1e6
    assert held_up_us / stats["calls"] < 20_000, "no call may hold the server up"


def test_releases_are_heard_as_they_happen(
    db: Client, consumer: Make, link: Link, make_link: Callable[..., Link]
) -> None:
    """Other hosts' keepers learn of them at once."""
    ear = Releases(make_link())
    assert ear.heard() == [] and ear.fileno() is not None
    entries = [push(db), push(db)]
    worker = consumer("w.1")
    for _ in entries:
        worker.release(take(worker).held, counted=False)
    heard: list[tuple[str, str]] = []

    def both_heard() -> bool:
        heard.extend(ear.heard())
        return len(heard) == 2

    wait_until(both_heard)
    assert heard == [(WORK, entry) for entry in entries]
    db.client_kill_filter(_type="pubsub")
    with pytest.raises(StreamUnavailable):
        wait_until(lambda: ear.heard())
    assert ear.heard() == [], "subscribed again"
    worker.release(take(worker, stale=[(WORK, entries[0])]).held, counted=False)
    assert wait_until(ear.heard) == [(WORK, entries[0])]


def test_pruning_without_groups(db: Client, link: Link) -> None:
    """No streams, no consumers."""
    assert prune_consumers(link, idle_s=0) == []
    assert prune_uncounted(link) == 0


def test_a_user_who_may_not_subscribe_does_without(
    shared_server: RedisServer, db: Client, make_link: Callable[..., Link]
) -> None:
    """Sweeps find what was released all the same."""
    db.acl_setuser("deaf", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"], reset_channels=True)
    ear = Releases(make_link(f"unix://deaf:pw@{shared_server.socket}"))
    assert ear.heard() == [] and ear.refused and ear.fileno() is None and ear.heard() == []
    db.acl_deluser("deaf")


def test_one_sweeper_has_a_stream_at_a_time(db: Client, consumer: Make, link: Link) -> None:
    """The next one has it when its time is over, and those that hear of nothing look for themselves."""
    worker = consumer("gone.1")
    entry = push(db)
    assert worker.release(take(worker).held, counted=True)
    one, two = (Sweeper(link, lease_s=1, sweeper=name, turn_s=30.0) for name in "ab")
    assert one.stale(5, in_turns=True) == [(WORK, entry)] == one.stale(5, in_turns=True)
    assert two.stale(5, in_turns=True) == [] and two.stale(5) == [(WORK, entry)]
    keys: Any = db.keys(f"{SWEEPER_PREFIX}*")
    db.delete(*keys)
    assert two.stale(5, in_turns=True) == [(WORK, entry)]
