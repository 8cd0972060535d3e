"""A key of another type than a script expects: nothing is written, however late it would have come to that key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor_worker.broker import COMPLETED_STREAM, Consumer, Link, Settled
from executor_worker.broker.names import (
    AWAITED,
    LAST_READ,
    MARKERS,
    PARKED,
    PROGRESS_STREAM,
    THROTTLE_PREFIX,
    dead_stream,
    own_journal,
    uncounted_key,
)
from executor_worker.broker.queue import dead_letters
from executor_worker.errors import StreamError
from tests.unit.executor_worker.broker.acts import WORK, Client, commit, events, pending, push, settle, snapshot, take

Make = Callable[..., Consumer]
OTHER = "dago:events:other"
FORGIVEN = uncounted_key(WORK)


def assert_refused_whole(db: Client, key: str, act: Callable[[], object]) -> None:
    """Try *act* while *key* holds something else: it says which key, and nothing is written by any try."""
    kept = db.dump(key)
    db.delete(key)
    db.set(key, "somebody else's")
    there = snapshot(db)
    for _ in range(3):
        with pytest.raises(StreamError, match=f"WRONGTYPE the key {key} holds a string"):
            act()
    assert snapshot(db) == there
    db.delete(key)
    if kept:
        db.restore(key, 0, kept)


def held_again(db: Client, consumer: Make) -> tuple[Consumer, object]:
    """An item that is delivered for the second time, and its consumer."""
    push(db)
    consumer("w.2").take()
    ((entry, _),) = pending(db).items()
    worker = consumer("w.1", lease_s=0.0)
    return worker, take(worker, stale=[(WORK, entry)])


@pytest.mark.parametrize("key", [MARKERS, COMPLETED_STREAM, OTHER, dead_stream(WORK), FORGIVEN])
def test_a_settle_writes_all_or_nothing(db: Client, consumer: Make, key: str) -> None:
    """However often it is tried again: one event when the key is free, not one for each try."""
    worker, taken = held_again(db, consumer)
    letter: dict[str, bytes | str] = {"data": b"x", "reason": "poisoned"}
    what = commit(events=[(COMPLETED_STREAM, b"event"), (OTHER, b"event")], dead=letter)
    assert_refused_whole(db, key, lambda: settle(worker, taken, what))  # type: ignore[arg-type]
    assert settle(worker, taken, what) is Settled.settled  # type: ignore[arg-type]
    assert events(db) == events(db, OTHER) == [b"event"]
    assert db.xlen(dead_stream(WORK)) == 1


def test_a_settle_of_a_kept_entry_writes_all_or_nothing(db: Client, consumer: Make) -> None:
    """DELETE_SETTLED=0 writes a key more."""
    push(db)
    worker = consumer("w.1", delete_settled=False)
    taken = take(worker)
    assert_refused_whole(db, LAST_READ, lambda: settle(worker, taken))
    assert settle(worker, taken) is Settled.settled
    assert events(db) == [b"event"]


def test_a_mirrored_failure_writes_all_or_nothing(db: Client, consumer: Make) -> None:
    """The copy for the original's orchestrator is another stream."""
    push(db)
    worker = consumer("w.1", failures="always")
    taken = take(worker)
    what = commit(events=[(OTHER, b"event")], failure=True)
    assert_refused_whole(db, COMPLETED_STREAM, lambda: settle(worker, taken, what))
    assert settle(worker, taken, what) is Settled.settled
    assert (events(db), events(db, OTHER)) == ([b"event"], [b"event"])


def test_a_delivery_is_not_counted_by_tries_that_fail(db: Client, consumer: Make) -> None:
    """Else an item would be poisoned by takes that no worker saw."""
    entry = push(db)
    consumer("w.2").take()
    worker = consumer("w.1", lease_s=0.0)
    assert_refused_whole(db, FORGIVEN, lambda: worker.take(stale=[(WORK, entry)]))
    assert pending(db)[entry][2] == 1


@pytest.mark.parametrize("key", [PARKED, AWAITED, FORGIVEN, THROTTLE_PREFIX + "m:calls", THROTTLE_PREFIX + "m:waiting"])
def test_an_item_is_parked_whole_or_not(db: Client, consumer: Make, key: str) -> None:
    """It stays with its worker until it has its place among those that wait."""
    push(db)
    worker = consumer("w.1")
    taken = take(worker)
    assert_refused_whole(db, key, lambda: worker.park(taken.held, THROTTLE_PREFIX + "m", 1))


def test_an_item_is_given_back_whole_or_not(db: Client, consumer: Make) -> None:
    """Else it would count although it was given back uncounted."""
    push(db)
    worker = consumer("w.1")
    taken = take(worker)
    assert_refused_whole(db, FORGIVEN, lambda: worker.release(taken.held, counted=False))


def test_a_record_is_kept_with_its_event_or_not(db: Client, consumer: Make) -> None:
    """What a run did and what is told of it go together."""
    push(db)
    worker = consumer("w.1")
    taken = take(worker)
    keys = worker.journal(taken.held, ttl_s=60)
    name = own_journal(WORK, taken.held.entry)
    assert_refused_whole(db, PROGRESS_STREAM, lambda: keys.append(name, -1, [b"record"], [b"event"]))


def test_a_dead_letter_is_put_back_whole_or_not(db: Client, link: Link) -> None:
    """Its node is not pending again before its item is on the stream."""
    db.set("dago:state:g", '{"graph_id":"g","node_states":{"n":{"node_id":"n","status":"failed"}}}')
    db.xadd(dead_stream(WORK), {"data": '{"graph_id":"g","node_id":"n"}', "original_id": "1-1"})
    (letter,) = dead_letters.letters(link)
    assert_refused_whole(db, WORK, lambda: dead_letters.requeue(link, letter, ttl_s=60))
    assert dead_letters.requeue(link, letter, ttl_s=60)
    assert db.xlen(WORK) == 1
