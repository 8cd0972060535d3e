"""Trimming, registry, backlog, submitting, and what the server says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, Consumer, Link, ensure_groups
from executor_worker.broker.fleet.registry import Registration, register, registered, unregister
from executor_worker.broker.queue.backlog import backlog
from executor_worker.broker.queue.submit import Results, add_items, store_state
from executor_worker.broker.queue.trim import trim
from tests.kit import wait_until
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, commit, push, settle, take

Make = Callable[..., Consumer]


def _results(db: Client, count: int) -> list[str]:
    pipe = db.pipeline(transaction=False)
    for index in range(count):
        pipe.xadd(COMPLETED_STREAM, {"data": "x" * 300}, id=f"1-{index + 1}")
    return [entry.decode() for entry in pipe.execute()]


def test_results_nobody_reads_are_trimmed_to_about_the_limit(db: Client, link: Link) -> None:
    """Whole nodes go, so a few more may stay; never fewer."""
    _results(db, 5000)
    assert trim(link, 1000) > 3800
    assert 1000 <= db.xlen(COMPLETED_STREAM) <= 1100
    assert trim(link, 1000) == 0


def test_nothing_a_group_has_not_read_is_trimmed(db: Client, link: Link) -> None:
    """The slowest group counts; one that read all does not hold anything up."""
    ids = _results(db, 3000)
    db.xgroup_create(COMPLETED_STREAM, "fast", "$")
    db.xgroup_create(COMPLETED_STREAM, "slow", "0")
    assert trim(link, 100) == 0
    db.xgroup_setid(COMPLETED_STREAM, "slow", ids[999])
    assert trim(link, 100) > 800
    unread = db.xreadgroup("slow", "c", {COMPLETED_STREAM: ">"}, count=5000)[0][1]
    assert [entry.decode() for entry, _ in unread] == ids[1000:]
    trim(link, 100)
    assert 100 <= db.xlen(COMPLETED_STREAM) <= 200, "it has read everything now"


def test_trimming_by_groups_keeps_the_limit_too(db: Client, link: Link) -> None:
    """What was read stays as long as the limit allows."""
    ids = _results(db, 1050)
    db.xgroup_create(COMPLETED_STREAM, "g", ids[1040])
    trim(link, 1000)
    assert 1000 <= db.xlen(COMPLETED_STREAM) <= 1050
    assert trim(link, 2000) == 0


def test_ids_of_any_size_are_compared_rightly(db: Client, link: Link) -> None:
    """Ids are 64-bit pairs; the slowest group is found among 9-…, 10-… and the largest there is."""
    for entry in ("9-18446744073709551615", "10-1", "10-2", "18446744073709551615-1"):
        db.xadd(COMPLETED_STREAM, {"data": "x" * 5000}, id=entry)
    db.xgroup_create(COMPLETED_STREAM, "a", "18446744073709551615-1")
    db.xgroup_create(COMPLETED_STREAM, "b", "10-1")
    trim(link, 1)
    assert [entry for entry, _ in db.xrange(COMPLETED_STREAM)] == [b"10-2", b"18446744073709551615-1"]


def test_registrations_are_written_read_and_removed(db: Client, link: Link) -> None:
    """As the contract shapes them; they end by themselves."""
    one = Registration("w.1", "busy", 1.5, 2.25, "g/n", 1, "0.1", {"pid": 7})
    register(link, [one, Registration("w.2", "idle", 0, 0)])
    assert json.loads(db.get("dago:workers:w.1") or b"") == {
        "id": "w.1",
        "type": "executor",
        "status": "busy",
        "registered_at": "1970-01-01T00:00:01.500Z",
        "last_heartbeat": "1970-01-01T00:00:02.250Z",
        "current_task": "g/n",
        "pending_tasks": 1,
        "version": "0.1",
        "metadata": {"pid": 7},
    }
    assert 29_000 < db.pttl("dago:workers:w.1") <= 30_000
    db.set("dago:workers:broken", "no json")
    db.hset("dago:workers:strange", "a", "b")
    assert [entry["id"] for entry in registered(link)] == ["w.1", "w.2"]
    unregister(link, ["w.1", "w.2"])
    assert registered(link) == []
    register(link, [])


def test_the_backlog_is_what_is_not_settled(db: Client, consumer: Make, link: Link) -> None:
    """With entries deleted, the stream's length; in hand counts, settled does not."""
    assert [(one.depth, one.pending, one.dead, one.oldest_age_s) for one in backlog(link, delete_settled=True)] == [
        (0, 0, 0, 0)
    ] * 2
    for _ in range(3):
        push(db)
    db.xadd(EVENTS + ":dead", {"data": "x"})
    worker = consumer()
    taken = take(worker)
    work, events = backlog(link, delete_settled=True)
    assert (work.stream, work.depth, work.pending, events.stream, events.dead) == (WORK, 3, 1, EVENTS, 1)
    settle(worker, taken)
    assert backlog(link, delete_settled=True)[0].depth == 2


def test_the_backlog_of_a_kept_stream_is_lag_and_pending(db: Client, consumer: Make, link: Link) -> None:
    """What was settled lies there still, and is not counted."""
    for _ in range(4):
        push(db)
    worker = consumer(delete_settled=False)
    settle(worker, take(worker))
    take(worker)
    work = backlog(link, delete_settled=False)[0]
    assert (work.depth, work.pending, db.xlen(WORK)) == (3, 1, 4)


def test_the_oldest_item_is_the_oldest_not_settled(db: Client, consumer: Make, link: Link) -> None:
    """Its age comes from its id, by the server's clock."""
    now = int(db.time()[0])
    for age in (500, 300, 100):
        db.xadd(WORK, {"data": "{}"}, id=f"{(now - age) * 1000}-0")
    worker = consumer(delete_settled=False)
    settle(worker, take(worker), commit(expected=None))
    held = take(worker)
    assert 299 <= backlog(link, delete_settled=False)[0].oldest_age_s <= 305
    settle(worker, held, commit(expected=None))
    assert 99 <= backlog(link, delete_settled=False)[0].oldest_age_s <= 105


def test_groups_are_made_once(db: Client, link: Link) -> None:
    """Whoever comes second finds them."""
    assert [one.stream for one in ensure_groups(link, delete_settled=True)] == [WORK, EVENTS]
    assert ensure_groups(link, delete_settled=True) == []
    db.delete(WORK)
    [again] = ensure_groups(link, delete_settled=True, known=True)
    assert (again.stream, again.start, again.lost) == (WORK, "0-0", True)


def test_submitted_items_and_their_results(db: Client, link: Link, make_link: Callable[..., Link]) -> None:
    """Results from before are not shown, a failure that stands in both streams comes once."""
    db.xadd(COMPLETED_STREAM, {"data": '{"id":"old"}'})
    results = Results(make_link())
    ids = add_items(link, [b'{"n":%d}' % n for n in range(450)], stream=EVENTS)
    assert [entry.decode() for entry, _ in db.xrange(EVENTS)] == ids
    store_state(link, "g", b"{}", ttl_s=60)
    assert db.get("dago:state:g") == b"{}" and db.pttl("dago:state:g") <= 60_000
    assert results.next(0.01) == []
    for stream, data in ((FAILED_STREAM, '{"id":"f"}'), (COMPLETED_STREAM, '{"id":"f"}'), (COMPLETED_STREAM, "broken")):
        db.xadd(stream, {"data": data})
    db.xadd(COMPLETED_STREAM, {"data": '{"id":"c"}'})
    seen: list[str] = []

    def both_seen() -> bool:
        seen.extend(str(event["id"]) for event in results.next(0.2))
        return len(seen) >= 2

    wait_until(both_seen)
    assert sorted(seen) == ["c", "f"]
    assert results.next(0.01) == []


@pytest.mark.parametrize("count", [0, 1])
def test_adding_few_or_no_items(db: Client, link: Link, count: int) -> None:
    """Nothing is an answer too."""
    assert len(add_items(link, [b"{}"] * count)) == count == db.xlen(WORK)
