"""A run's journal: written by the item's holder only, once, and found by whoever runs the item next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import Consumer, JournalKeys, Kept, Link, own_journal
from executor_worker.broker.queue.dead_letters import find, requeue
from executor_worker.broker.queue.trim import trim
from tests.unit.executor_worker.broker.acts import WORK, Client, commit, events, push, settle, take

KEY = "dago:journal:item-1"
PROGRESS = "dago:events:node.progress"


def journal_of(consumer: Consumer, taken: Any, ttl_s: float = 100) -> JournalKeys:
    return consumer.journal(taken.held, ttl_s=ttl_s)


@pytest.fixture
def held(db: Client, consumer: Callable[..., Consumer]) -> tuple[Consumer, Any, JournalKeys]:
    """A consumer with an item in hand."""
    push(db)
    one = consumer("a.1")
    taken = take(one)
    db.delete(PROGRESS)  # its start
    return one, taken, journal_of(one, taken)


def test_records_are_kept_in_order_with_their_events(db: Client, held: tuple[Consumer, Any, JournalKeys]) -> None:
    """One list, which lives as long as the state does; events stand in a stream."""
    _, _, journal = held
    assert journal.append(KEY, 0, [b"began", b"one"], [b"event one"]) is Kept.kept
    assert journal.append(KEY, 2, [b"two"], [b"event two"]) is Kept.kept
    assert journal.read(KEY, "dago:journal:none") == [[b"began", b"one", b"two"], []]
    assert events(db, PROGRESS) == [b"event one", b"event two"]
    assert 90_000 < db.pttl(KEY) <= 100_000


def test_record_whose_reply_was_lost_is_written_once(db: Client, held: tuple[Consumer, Any, JournalKeys]) -> None:
    """Writing again finds it, and tells nobody a second time."""
    _, _, journal = held
    for _ in range(2):
        assert journal.append(KEY, 0, [b"began", b"one"], [b"event"]) is Kept.kept
    assert journal.read(KEY) == [[b"began", b"one"]] and events(db, PROGRESS) == [b"event"]


def test_records_of_another_run_are_left_alone(held: tuple[Consumer, Any, JournalKeys]) -> None:
    """Whoever finds what it has not written learns of it; to begin anew is another thing."""
    _, _, journal = held
    journal.append(KEY, 0, [b"theirs"], [])
    assert journal.append(KEY, 0, [b"ours"], []) is Kept.other
    assert journal.append(KEY, 2, [b"ours"], []) is Kept.other, "and where something was lost"
    assert journal.read(KEY) == [[b"theirs"]]
    assert journal.append(KEY, -1, [b"ours"], []) is Kept.kept
    assert journal.read(KEY) == [[b"ours"]]


def test_late_holder_writes_no_record(
    db: Client, held: tuple[Consumer, Any, JournalKeys], consumer: Callable[..., Consumer]
) -> None:
    """Once somebody else has the item, or has settled it."""
    one, taken, journal = held
    one.release(taken.held, counted=True)
    other = consumer("b.1")
    again = take(other, stale=[(WORK, taken.held.entry)])
    assert journal.append(KEY, 0, [b"late"], [b"event"]) is Kept.fenced
    assert journal_of(other, again).append(KEY, 0, [b"begun"], []) is Kept.kept
    settle(other, again)
    assert journal_of(other, again).append(KEY, 1, [b"late"], [b"event"]) is Kept.fenced
    assert db.lrange(KEY, 0, -1) == [b"begun"] and b"event" not in events(db, PROGRESS)


def test_entry_that_was_trimmed_stays_its_holders(db: Client, held: tuple[Consumer, Any, JournalKeys]) -> None:
    """A producer's trimming takes no run's journal away."""
    _, taken, journal = held
    db.xdel(WORK, taken.held.entry)
    assert journal.append(KEY, 0, [b"one"], []) is Kept.kept


def test_settling_ends_the_journal(db: Client, held: tuple[Consumer, Any, JournalKeys]) -> None:
    """In the same step; where nothing was kept there is nothing to end."""
    one, taken, journal = held
    journal.append(KEY, 0, [b"one"], [])
    settle(one, taken, commit(journal=KEY, last_record=b"ended"))
    assert db.lrange(KEY, 0, -1) == [b"one", b"ended"]
    push(db)
    settle(one, take(one), commit(expected=None, journal="dago:journal:other", last_record=b"ended"))
    assert not db.exists("dago:journal:other")


def test_key_that_is_no_list_is_no_journal(db: Client, held: tuple[Consumer, Any, JournalKeys]) -> None:
    """Somebody else's key keeps no item from being run."""
    _, _, journal = held
    db.set(KEY, "x")
    assert journal.read(KEY) == [[]]
    assert journal.append(KEY, 0, [b"one"], []) is Kept.other and db.get(KEY) == b"x"


def test_requeue_carries_the_journal_along(db: Client, held: tuple[Consumer, Any, JournalKeys], link: Link) -> None:
    """An item that has no name but its entry's keeps what was done for it, under its new entry."""
    one, taken, journal = held
    journal.append(own_journal(WORK, taken.held.entry), 0, [b"one"], [])
    letter = {"data": taken.delivery.data, "original_id": taken.held.entry, "reason": "poisoned"}
    settle(one, taken, commit(dead=letter))
    [found] = find(link, taken.held.entry)
    entry = requeue(link, found, ttl_s=50)
    assert entry is not None and entry != taken.held.entry
    assert db.lrange(own_journal(WORK, entry), 0, -1) == [b"one"]
    assert not db.exists(own_journal(WORK, taken.held.entry))


def test_told_events_cost_no_wait(db: Client, held: tuple[Consumer, Any, JournalKeys]) -> None:
    """Their answers are read past, whatever is asked next; without a line they are left out."""
    one, taken, journal = held
    for number in range(100):
        journal.tell(b"event %d" % number)
    assert journal.read(KEY) == [[]]
    journal.tell(b"the last")
    assert one.holds(taken.held)
    assert events(db, PROGRESS) == [*(b"event %d" % number for number in range(100)), b"the last"]
    one.close()
    journal.tell(b"lost")
    assert db.xlen(PROGRESS) == 101


def test_told_events_do_not_disturb_a_wait(db: Client, held: tuple[Consumer, Any, JournalKeys], event_fd: int) -> None:
    """A blocking read that follows gets its own answer."""
    one, taken, journal = held
    settle(one, taken)
    journal.tell(b"event")
    entry = push(db)
    found = one.wait(event_fd, 5)
    assert found is not None and found.held.entry == entry


def test_progress_is_trimmed(db: Client, held: tuple[Consumer, Any, JournalKeys], link: Link) -> None:
    """As result streams are."""
    for number in range(500):
        db.xadd(PROGRESS, {"data": str(number)})
    trim(link, 100)
    assert db.xlen(PROGRESS) < 300
