"""Taking: new entries, one's own forgotten ones, stale ones, and waiting for one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from executor_worker.broker import GROUP, WORK_STREAMS, Consumer, Made
from tests.kit import wait_until
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, pending, push, settle, take

Make = Callable[..., Consumer]


def test_take_brings_the_entry_with_its_graphs_state(db: Client, consumer: Make) -> None:
    """The state comes in the same step, under the name that was guessed from the data."""
    entry = push(db)
    db.set("dago:state:g", b'{"x":[]}')
    taken = take(consumer("w.1"))
    assert (taken.held.stream, taken.held.entry, taken.held.count, taken.held.attempt) == (WORK, entry, 1, 1)
    assert taken.delivery.brought == [b"dago:state:g", b'{"x":[]}']
    assert taken.delivery.data is not None and json.loads(taken.delivery.data)["node_id"] == "n"
    assert pending(db)[entry][0] == "w.1"


def test_an_empty_stream_brings_nothing(consumer: Make) -> None:
    """Nothing there is None, at once."""
    assert consumer().take() is None


def test_an_entry_without_data_is_taken_all_the_same(db: Client, consumer: Make) -> None:
    """What is no item has to be answered too."""
    db.xadd(WORK, {"payload": "x", "more": "y"})
    taken = take(consumer())
    delivery = taken.delivery
    assert delivery.data is None and delivery.fields == {b"payload": b"x", b"more": b"y"} and delivery.brought is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe\x00", b'"graph_id":', b'{"graph_id":"' + b"x" * 5000, b'{"graph_id":"\\u0061"}', b"[" * 9999],
)
def test_hostile_data_is_handed_over_as_it_is(db: Client, consumer: Make, data: bytes) -> None:
    """Guessing a name never fails."""
    db.xadd(WORK, {"data": data})
    taken = take(consumer())
    assert taken.delivery.data == data and taken.delivery.brought is None


def test_a_state_that_is_no_string_comes_as_empty(db: Client, consumer: Make, event_fd: int) -> None:
    """A key of another type is broken state, not an outage."""
    db.hset("dago:state:g", "a", "b")
    push(db)
    worker = consumer()
    assert take(worker).delivery.brought[1] == b""
    assert worker.read_state("dago:state:g") == b""
    push(db)
    taken = worker.wait(event_fd, 5)
    assert taken is not None and taken.delivery.brought[1] == b""


def test_streams_take_turns(db: Client, consumer: Make) -> None:
    """A full stream does not starve the other."""
    for _ in range(4):
        push(db, stream=WORK)
        push(db, stream=EVENTS)
    worker = consumer()
    assert sorted(take(worker).held.stream for _ in range(4)) == [EVENTS, EVENTS, WORK, WORK]


def test_groups_are_made_at_zero_where_missing(db: Client, consumer: Make) -> None:
    """What lay in the stream before the first worker came is read."""
    push(db)
    made: list[Made] = []
    take(consumer(group_made=made.append))
    assert [(one.stream, one.start, one.lost) for one in made] == [(WORK, "0-0", False), (EVENTS, "0-0", False)]


def test_a_successor_takes_what_its_predecessor_died_with(db: Client, consumer: Make) -> None:
    """The killed worker's entry comes first, and the delivery counts."""
    entry = push(db)
    take(consumer("w.1"))
    push(db)
    taken = take(consumer("w.1"))
    assert (taken.held.entry, taken.held.count, taken.held.attempt) == (entry, 2, 2)


def test_a_condemned_entry_is_taken_uncounted_and_first(db: Client, consumer: Make) -> None:
    """An item whose worker was ended for its sake is answered by the next one; that delivery is not held against it."""
    first, second = push(db), push(db)
    dead = consumer("w.1")
    take(dead), take(dead)
    taken = take(consumer("w.1"), uncounted=(WORK, second))
    assert (taken.held.entry, taken.held.count, taken.held.attempt) == (second, 2, 1)
    other = take(consumer("w.2"), stale=[(WORK, first)])
    assert (other.held.entry, other.held.attempt) == (first, 1)


def test_a_condemned_entry_is_told_from_one_of_the_same_id(db: Client, consumer: Make) -> None:
    """Ids are given by each stream for itself: two streams may have the same one."""
    dead, ident = consumer("w.1"), "1-1"
    for stream in WORK_STREAMS:
        db.xadd(stream, {"data": "{}"}, id=ident)
        take(dead)
    taken = take(consumer("w.1"), uncounted=(WORK, ident))
    assert (taken.held.stream, taken.held.attempt) == (WORK, 1)


def test_what_a_lost_reply_brought_is_taken_uncounted(db: Client, consumer: Make) -> None:
    """An entry delivered to us but never seen has not been run."""
    worker = consumer("w.1")
    assert worker.take() is None
    entry = push(db)
    db.xreadgroup(GROUP, "w.1", {WORK: ">"})
    worker.may_have_unseen = True
    taken = take(worker)
    assert (taken.held.entry, taken.held.count, taken.held.attempt) == (entry, 2, 1)
    assert not worker.may_have_unseen


def test_only_one_of_two_racers_takes_a_stale_entry(db: Client, consumer: Make) -> None:
    """Idle time is checked in the same step in which the entry is claimed."""
    entry = push(db)
    take(consumer("dead.1"))
    racers = [consumer(f"w.{i}", lease_s=30) for i in range(2)]
    for racer in racers:
        racer.take()
    db.xclaim(WORK, GROUP, "dead.1", 0, [entry], idle=31_000)
    start = threading.Barrier(2)
    got = []

    def race(racer: Consumer) -> None:
        start.wait(60)
        got.append(racer.take(stale=[(WORK, entry)]))

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 2
    assert len([one for one in got if one is not None]) == 1


def test_an_entry_in_hand_is_not_stale(db: Client, consumer: Make) -> None:
    """A hint that is out of date takes nothing from anybody."""
    entry = push(db)
    take(consumer("busy.1"))
    assert consumer("w.1").take(stale=[(WORK, entry)]) is None
    assert pending(db)[entry][0] == "busy.1"


def test_a_stale_row_whose_entry_was_trimmed_is_passed_over(db: Client, consumer: Make) -> None:
    """There is nothing to run; the row goes, the next entry comes."""
    gone = push(db)
    take(consumer("dead.1"))
    db.xdel(WORK, gone)
    wait_until(lambda: pending(db)[gone][1] >= 5)
    entry = push(db)
    assert take(consumer("w.1", lease_s=0.005), stale=[(WORK, gone)]).held.entry == entry
    assert list(pending(db)) == [entry]


def test_a_read_that_brings_two_gives_the_second_back_uncounted(db: Client, consumer: Make, event_fd: int) -> None:
    """COUNT is for each stream: nothing that nobody works on is held."""
    worker = consumer("w.1")
    worker.take()
    heard = db.pubsub()
    heard.subscribe("dago:executor:released")
    push(db, stream=WORK)
    second = push(db, stream=EVENTS)
    taken = worker.wait(event_fd, 5)
    assert taken is not None and taken.held.stream == WORK
    other = take(consumer("w.2"), stale=[(EVENTS, second)])
    assert (other.held.count, other.held.attempt) == (2, 1)
    messages = [heard.get_message(timeout=30) for _ in range(2)]
    assert messages[1] is not None and messages[1]["data"] == f"{EVENTS} {second}".encode()
    heard.close()


def test_a_released_entry_is_taken_at_once_by_anybody(db: Client, consumer: Make) -> None:
    """A drain costs nobody a lease's time, and is not held against the item."""
    entry = push(db)
    first = consumer("w.1")
    for _ in range(3):
        held = take(first, stale=[(WORK, entry)]).held
        assert held.attempt == 1
        assert first.release(held, counted=False)
        assert first.release(held, counted=False), "again, as after a lost reply: forgiven once"
    taken = take(consumer("w.2"), stale=[(WORK, entry)])
    assert taken.held.attempt == 1 and taken.held.count == 4
    settle(consumer("w.2"), taken)
    assert not db.exists(f"{WORK}:forgiven"), "nothing is remembered of what is settled"


def test_a_counted_release_raises_the_attempt(db: Client, consumer: Make) -> None:
    """What a dead worker is made to give back counts against it."""
    entry = push(db)
    first = consumer("w.1")
    assert first.release(take(first).held, counted=True)
    assert take(consumer("w.2"), stale=[(WORK, entry)]).held.attempt == 2


def test_release_of_what_was_taken_over_does_nothing(db: Client, consumer: Make) -> None:
    """Only the holder gives back."""
    entry = push(db)
    first = consumer("w.1")
    held = take(first).held
    db.xclaim(WORK, GROUP, "w.2", 0, [entry])
    assert not first.release(held, counted=False)
    assert pending(db)[entry][0] == "w.2" and pending(db)[entry][1] < 30_000
