"""Settling: once, by the holder only, everything or nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, GROUP, Consumer, DocumentCommit, Settled
from executor_worker.envelopes.events import node_entry
from executor_worker.graph.state import GraphState, new_document, splice_node
from executor_worker.outcome import Completed
from tests.kit import wait_until
from tests.unit.executor_worker.broker.acts import (
    EVENTS,
    WORK,
    Client,
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


def test_settling_writes_everything_and_takes_the_next(db: Client, consumer: Make) -> None:
    """State, event, acknowledgement, deletion and the next entry in one step."""
    first, second = push(db), push(db, node="m")
    worker = consumer("w.1")
    held = take(worker).held
    ending, state, upcoming = worker.settle(held, commit(ttl_s=60), take_next=True)
    assert (ending, state) == (Settled.settled, None)
    assert db.get("dago:state:g") == b'{"a":1}' and 59_000 < db.pttl("dago:state:g") <= 60_000
    assert events(db) == [b"event"]
    assert not db.xrange(WORK, first, first)
    assert list(pending(db)) == [second]
    assert upcoming is not None and upcoming.held.entry == second and upcoming.delivery.brought[1] == b'{"a":1}'


def test_settled_entries_stay_where_they_are_to_stay(db: Client, consumer: Make) -> None:
    """DELETE_SETTLED=0: acknowledged, not deleted."""
    entry = push(db)
    worker = consumer(delete_settled=False)
    settle(worker, take(worker))
    assert db.xrange(WORK, entry, entry) and not pending(db)


def test_a_second_settle_finds_its_own_commit(db: Client, consumer: Make) -> None:
    """As after a lost reply: nothing is written twice, and the next entry comes all the same."""
    push(db)
    worker = consumer()
    taken = take(worker)
    assert settle(worker, taken) is Settled.settled
    second = push(db)
    ending, _, upcoming = worker.settle(taken.held, commit(), take_next=True)
    assert ending is Settled.already and upcoming is not None and upcoming.held.entry == second
    assert events(db) == [b"event"]


def test_settle_after_a_takeover_is_fenced(db: Client, consumer: Make) -> None:
    """Whoever was paused past its lease writes nothing."""
    entry = push(db)
    slow, other = consumer("slow.1"), consumer("other.1")
    taken = take(slow)
    db.xclaim(WORK, GROUP, "other.1", 0, [entry])
    before = snapshot(db)
    assert settle(slow, taken) is Settled.fenced
    assert snapshot(db) == before
    theirs = take(other)
    assert settle(other, theirs) is Settled.settled
    assert settle(slow, taken) is Settled.fenced, "also after the other one has settled it"
    assert events(db) == [b"event"]


def test_the_same_consumers_earlier_delivery_is_fenced(db: Client, consumer: Make) -> None:
    """A → B → A: the owner is the same again, the delivery count is not."""
    entry = push(db)
    first = take(consumer("a.1"))
    db.xclaim(WORK, GROUP, "b.1", 0, [entry])
    db.xclaim(WORK, GROUP, "a.1", 0, [entry])
    again = consumer("a.1")
    assert settle(again, first) is Settled.fenced
    second = take(again)
    assert second.held.count == 4 and settle(again, second) is Settled.settled
    assert settle(again, first) is Settled.fenced
    assert events(db) == [b"event"]


def test_a_changed_state_is_a_conflict(db: Client, consumer: Make) -> None:
    """Nothing is written into a document other than the one that was read; the newer one comes back."""
    push(db)
    worker = consumer()
    taken = take(worker)
    db.set("dago:state:g", b'{"b":2}')
    before = snapshot(db)
    for expected in (b"", digest(b'{"old":1}')):
        answer = worker.settle(taken.held, commit(expected=expected), take_next=True)
        assert answer == (Settled.conflict, b'{"b":2}', None)
    assert snapshot(db) == before
    assert settle(worker, taken, commit(b'{"b":2,"a":1}', digest(b'{"b":2}'))) is Settled.settled
    assert db.get("dago:state:g") == b'{"b":2,"a":1}'


def test_a_state_that_went_is_a_conflict(db: Client, consumer: Make) -> None:
    """An expired document is not made again by accident."""
    push(db)
    worker = consumer()
    taken = take(worker)
    answer = worker.settle(taken.held, commit(expected=digest(b"{}")), take_next=False)
    assert answer == (Settled.conflict, None, None)


def test_a_state_key_of_another_type_is_a_conflict_and_can_be_left_alone(db: Client, consumer: Make) -> None:
    """Broken state does not hold the item up."""
    push(db)
    db.hset("dago:state:g", "a", "b")
    worker = consumer()
    taken = take(worker)
    assert worker.settle(taken.held, commit(), take_next=False) == (Settled.conflict, b"", None)
    assert settle(worker, taken, commit(expected=None)) is Settled.settled
    assert db.hgetall("dago:state:g") == {b"a": b"b"} and events(db) == [b"event"]


def test_acknowledging_only(db: Client, consumer: Make) -> None:
    """An item that has its result already is acknowledged, nothing else."""
    push(db)
    worker = consumer()
    taken = take(worker)
    assert settle(worker, taken, DocumentCommit()) is Settled.settled
    assert not pending(db) and not events(db) and not db.exists("dago:state:g")


def test_a_dead_letter_is_written_with_the_rest(db: Client, consumer: Make) -> None:
    """Letter, event and acknowledgement belong together."""
    db.xadd(EVENTS, {"data": b"\xffno json"})
    worker = consumer()
    taken = take(worker)
    letter: dict[str, bytes | str] = {
        "data": taken.delivery.data or b"",
        "original_id": taken.held.entry,
        "reason": "invalid_item",
    }
    assert settle(worker, taken, DocumentCommit(dead=letter)) is Settled.settled
    [(_, fields)] = db.xrange(f"{EVENTS}:dead")
    assert fields == {b"data": b"\xffno json", b"original_id": taken.held.entry.encode(), b"reason": b"invalid_item"}
    assert not db.xlen(EVENTS)


@pytest.mark.parametrize(("mode", "group", "mirrored"), [
    ("auto", None, False), ("auto", "dago-workers", True), ("auto", "others", False),
    ("never", "dago-workers", False), ("always", None, True),
])  # fmt: skip
def test_failures_are_mirrored_where_they_are_looked_for(
    db: Client, consumer: Make, mode: str, group: str | None, mirrored: bool
) -> None:
    """The original orchestrator reads completed events only; a new group is seen at once."""
    push(db), push(db)
    worker = consumer(failures=mode)
    taken = take(worker)
    if group:
        db.xgroup_create(COMPLETED_STREAM, group, "$", mkstream=True)
    failed = commit(events=[(FAILED_STREAM, b"failed")], failure=True)
    assert settle(worker, taken, failed) is Settled.settled
    assert events(db, FAILED_STREAM) == [b"failed"]
    assert events(db) == ([b"failed"] if mirrored else [])
    settle(worker, take(worker), commit(expected=None))
    assert events(db)[-1] == b"event" and events(db, FAILED_STREAM) == [b"failed"], "a success goes one way only"


def test_a_trimmed_entry_with_its_row_is_simply_settled(db: Client, consumer: Make) -> None:
    """The row is what says whose it is."""
    entry = push(db)
    worker = consumer()
    taken = take(worker)
    db.xdel(WORK, entry)
    assert settle(worker, taken) is Settled.settled
    assert not pending(db)


def test_force_does_not_pass_the_fence(db: Client, consumer: Make) -> None:
    """It stands for a lost row only."""
    entry = push(db)
    slow, other = consumer("slow.1"), consumer("other.1")
    taken = take(slow)
    db.xclaim(WORK, GROUP, "other.1", 0, [entry])
    assert settle(slow, taken, force=True) is Settled.fenced
    settle(other, take(other))
    assert settle(slow, taken, force=True) is Settled.fenced, "somebody is known to have settled it"


def test_a_settled_entry_that_stays_fences_whoever_comes_late(db: Client, consumer: Make) -> None:
    """Also when its settler has settled others since."""
    entry = push(db)
    slow, other = consumer("slow.1", delete_settled=False), consumer("other.1", delete_settled=False)
    taken = take(slow)
    db.xclaim(WORK, GROUP, "other.1", 0, [entry])
    settle(other, take(other))
    push(db)
    settle(other, take(other), commit(expected=None))
    assert settle(slow, taken) is Settled.fenced


def test_twenty_writers_on_one_state_lose_nothing(db: Client, consumer: Make) -> None:
    """Conflicts are merged until everybody's node is in, and everything else is as it was."""
    strange = b'"big":123456789012345678901234567890,"f":1.00,"e":[],"o":{},"s":"\\u00e9"'
    db.set("dago:state:g", b"{" + strange + b',"node_states":{}}')
    for index in range(20):
        push(db, node=f"n{index}")
    start = threading.Barrier(20)
    problems: list[BaseException] = []

    def work(worker: Consumer) -> None:
        try:
            taken = take(worker)
            node = f"n{int(taken.held.entry.partition('-')[0]) and list(numbered).index(taken.held.entry)}"
            entry = node_entry(
                node_id=node, outcome=Completed(node, "tool"), started_at=1, completed_at=2, metadata={"work_id": node}
            )
            start.wait(60)
            current = taken.delivery.brought[1]
            while True:
                assert current is not None
                what = commit(splice_node(current, node, entry), digest(current))
                ending, current, _ = worker.settle(taken.held, what, take_next=False)
                if ending is Settled.settled:
                    return
                assert ending is Settled.conflict
        except BaseException as problem:  # noqa: BLE001  # a thread's end: told to the test
            problems.append(problem)

    numbered = [entry.decode() for entry, _ in db.xrange(WORK)]
    threads = [threading.Thread(target=work, args=(consumer(f"w.{i}"),)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not problems
    document = db.get("dago:state:g") or b""
    assert document.startswith(b"{" + strange + b",")
    assert GraphState.parse(document).outputs == {f"n{i}": f"n{i}" for i in range(20)}
    assert len(events(db)) == 20 and not db.xlen(WORK)


def test_the_fence_is_checked_before_the_state(db: Client, consumer: Make) -> None:
    """Who does not hold the item is not told of conflicts."""
    entry = push(db)
    slow = consumer("slow.1")
    taken = take(slow)
    db.xclaim(WORK, GROUP, "other.1", 0, [entry])
    assert slow.settle(taken.held, commit(expected=digest(b"x")), take_next=True) == (Settled.fenced, None, None)


def test_large_documents_and_many_letters_fit(db: Client, consumer: Make) -> None:
    """A state of megabytes goes through in one piece."""
    push(db)
    worker = consumer()
    taken = take(worker)
    document = new_document("g", {"x": "y" * 4_000_000}, "n", {"metadata": {}})
    assert settle(worker, taken, commit(document)) is Settled.settled
    push(db)
    wait_until(lambda: db.xlen(WORK))
    assert take(worker).delivery.brought[1] == document
