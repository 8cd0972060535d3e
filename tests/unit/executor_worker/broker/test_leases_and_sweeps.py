"""Leases keep what is worked on, sweeps find what is not, consumers go only when they have nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from executor_worker.broker import GROUP, Consumer, Held, Link
from executor_worker.broker.fleet.registry import Registration, register
from executor_worker.broker.names import MARKERS, uncounted_key
from executor_worker.broker.queue.consumers import (
    consumers_of,
    delete_consumer,
    delete_left,
    prune_consumers,
    prune_uncounted,
    release_consumer,
    release_held,
)
from executor_worker.broker.queue.leases import renew
from executor_worker.broker.queue.source import Groups
from executor_worker.broker.queue.stale import Sweeper
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, commit, fill, pending, push, settle, take

Make = Callable[..., Consumer]


def test_renewed_entries_start_their_lease_again_uncounted(db: Client, consumer: Make, link: Link) -> None:
    """Idle time restarts, the delivery count stays: a settle after it is not fenced."""
    entries = [push(db), push(db)]
    workers = [consumer("w.1"), consumer("w.2")]
    taken = [take(worker) for worker in workers]
    for name, entry in zip(("w.1", "w.2"), entries, strict=True):
        db.xclaim(WORK, GROUP, name, 0, [entry], idle=60_000, justid=True)
    assert renew(link, [one.held for one in taken]) == []
    assert all(idle < 30_000 and count == 1 for _, idle, count in pending(db).values())
    assert sorted(pending(db)) == sorted(entries)
    assert settle(workers[0], taken[0]).name == "settled"


def test_a_taken_over_entry_is_reported_and_left_alone(db: Client, consumer: Make, link: Link) -> None:
    """Nothing is stolen back: not by owner, not by delivery count."""
    entry = push(db)
    held = take(consumer("w.1")).held
    db.xclaim(WORK, GROUP, "w.2", 0, [entry], idle=5000)
    assert renew(link, [held]) == [held]
    db.xclaim(WORK, GROUP, "w.1", 0, [entry], idle=5000)
    assert renew(link, [held]) == [held], "ours again, but another delivery"
    assert pending(db)[entry][1] >= 5000


def test_what_its_own_worker_settled_meanwhile_is_not_lost(db: Client, consumer: Make, link: Link) -> None:
    """A renewal that comes a moment late stops nobody."""
    push(db)
    worker = consumer("w.1")
    taken = take(worker)
    settle(worker, taken)
    assert renew(link, [taken.held]) == []
    push(db)
    settle(worker, take(worker), commit(expected=None))
    assert renew(link, [taken.held]) == []


def test_what_somebody_else_settled_is_lost(db: Client, consumer: Make, link: Link) -> None:
    """The row is gone, but it is known who settled it."""
    entry = push(db)
    held = take(consumer("slow.1")).held
    db.xclaim(WORK, GROUP, "w.2", 0, [entry])
    other = consumer("w.2")
    settle(other, take(other))
    assert renew(link, [held]) == [held]


def test_a_late_renewal_does_not_take_back_what_was_released(db: Client, consumer: Make, link: Link) -> None:
    """What was given back stays stale for everybody."""
    entry = push(db)
    worker = consumer("w.1")
    held = take(worker).held
    worker.release(held, counted=False)
    assert renew(link, [held]) == []
    assert take(consumer("w.2"), stale=[(WORK, entry)]).held.entry == entry


def test_a_trimmed_entry_in_hand_is_not_lost(db: Client, consumer: Make, link: Link) -> None:
    """A producer trimmed it away: its holder goes on and settles."""
    entry = push(db)
    worker = consumer("w.1")
    taken = take(worker)
    db.xdel(WORK, entry)
    for _ in range(2):
        assert renew(link, [taken.held]) == []
    assert settle(worker, taken).name == "trimmed"


def test_renewing_nothing_and_renewing_without_a_group(db: Client, link: Link) -> None:
    """Neither is an error."""
    assert renew(link, []) == []
    assert renew(link, [Held(WORK, "1-1", 1, "w.1")]) == []


def test_a_thousand_leases_are_renewed(db: Client, link: Link) -> None:
    """More than fit into one call."""
    entries = [push(db) for _ in range(1001)]
    db.xgroup_create(WORK, GROUP, "0")
    db.xreadgroup(GROUP, "w.1", {WORK: ">"}, count=2000)
    held = [Held(WORK, entry, 1, "w.1") for entry in entries]
    assert renew(link, [*held, replace(held[0], count=7)]) == [replace(held[0], count=7)]


def test_a_sweep_takes_no_more_than_is_wanted_and_goes_on_there(db: Client, link: Link) -> None:
    """The cursor is kept; after the end it begins again."""
    idle = fill(db, 30, dict.fromkeys((3, 9, 27), 60000))
    fill(db, 3, {1: 60_000}, stream=EVENTS)
    sweeper = Sweeper(link, lease_s=30, page=5)
    assert sweeper.stale(0) == []
    assert sweeper.stale(2) == [(WORK, idle[0]), (WORK, idle[1])]
    assert sweeper.stale(2) == [(WORK, idle[2]), (EVENTS, "1-2")]
    assert sorted(sweeper.stale(100)) == [(EVENTS, "1-2"), *sorted((WORK, entry) for entry in idle)]
    assert sorted(sweeper.stale(100)) == [(EVENTS, "1-2"), *sorted((WORK, entry) for entry in idle)]


def test_a_sweep_without_groups_finds_nothing(db: Client, link: Link) -> None:
    """There is nothing pending where there is no group."""
    assert Sweeper(link, lease_s=30).stale(10) == []


def test_a_sweep_touches_nothing(db: Client, link: Link) -> None:
    """Finding is not claiming: delivery counts and owners stay."""
    [entry] = fill(db, 1, {0: 60_000})
    Sweeper(link, lease_s=30).stale(10)
    assert pending(db)[entry][0] == "w.1" and pending(db)[entry][1] >= 60_000 and pending(db)[entry][2] == 1


def test_a_dead_workers_entries_are_given_back(db: Client, consumer: Make, link: Link) -> None:
    """For a slot that is backing off, and at the end of a pool."""
    first, second = push(db), push(db, stream=EVENTS)
    dead = consumer("dead.1")
    take(dead), take(dead)
    assert sorted(release_consumer(link, "dead.1", counted=True)) == sorted([(WORK, first), (EVENTS, second)])
    assert take(consumer("w.1"), stale=[(WORK, first)]).held.attempt == 2
    assert release_consumer(link, "nobody.1", counted=True) == []


def test_a_successors_delivery_is_not_given_back_for_its_predecessor(db: Client, consumer: Make, link: Link) -> None:
    """A slot that is filled again in the same moment keeps what it took over."""
    entry = push(db)
    held = take(consumer("w.1")).held
    assert release_held(link, held, counted=True)
    taken = take(consumer("w.1"))
    assert not release_held(link, held, counted=True)
    assert pending(db)[entry][1] < 30_000 and taken.held.attempt == 2


def test_consumers_are_named_by_pool(db: Client, link: Link) -> None:
    """Slots only, whatever else begins with the same letters."""
    assert consumers_of(link, "w.") == []
    for stream, names in ((WORK, ("w.1", "w.12", "w.x", "w2.1", "other.1")), (EVENTS, ("w.1", "w.3"))):
        db.xgroup_create(stream, GROUP, "0", mkstream=True)
        for name in names:
            db.xgroup_createconsumer(stream, GROUP, name)
    assert consumers_of(link, "w.") == ["w.1", "w.12", "w.3"]


def test_what_a_predecessor_could_not_delete_goes_with_its_successor(db: Client, consumer: Make, link: Link) -> None:
    """Its last item was given back as it left, and taken by the other afterwards; who is registered stays."""
    entry = push(db)
    take(consumer("w.1"))
    register(link, [Registration("w.3", "idle", 0, 0)])
    db.xgroup_createconsumer(WORK, GROUP, "w.3")
    db.xgroup_createconsumer(WORK, GROUP, "x.1")
    release_consumer(link, "w.1", counted=False)
    assert delete_left(link, "w.") == [], "what is pending is not dropped"
    worker = consumer("w.2")
    settle(worker, take(worker, stale=[(WORK, entry)]))
    assert delete_left(link, "w.") == ["w.1", "w.2"]
    assert {row["name"] for row in db.xinfo_consumers(WORK, GROUP)} == {b"w.3", b"x.1"}


def test_giving_back_uncounted_twice_forgives_once(db: Client, consumer: Make, link: Link) -> None:
    """Repeating it after a lost reply changes nothing."""
    entry = push(db)
    take(consumer("dead.1"))
    release_consumer(link, "dead.1", counted=False)
    release_consumer(link, "dead.1", counted=False)
    assert take(consumer("w.1"), stale=[(WORK, entry)]).held.uncounted == 1


def test_deleting_a_consumer_never_drops_what_it_has(db: Client, consumer: Make, link: Link) -> None:
    """DELCONSUMER would: it happens only when nothing is pending, on either stream."""
    push(db, stream=EVENTS)
    worker = consumer("w.1")
    taken = take(worker)
    assert not delete_consumer(link, "w.1")
    assert taken.held.entry in pending(db, EVENTS)
    settle(worker, taken)
    assert delete_consumer(link, "w.1")
    assert not db.xinfo_consumers(WORK, GROUP) and not db.hgetall("dago:executor:settled")
    push(db)
    assert take(worker).held.count == 1, "one that reads again is simply there again"


def test_consumers_stay_bounded_over_a_thousand_restarts(db: Client, link: Link, consumer: Make) -> None:
    """Vanished names are pruned; who has something pending, is registered or is ours stays."""
    for stream in (WORK, EVENTS):
        db.xgroup_create(stream, GROUP, "0", mkstream=True)
    pipe = db.pipeline(transaction=False)
    for index in range(1000):
        pipe.xgroup_createconsumer(WORK if index % 2 else EVENTS, GROUP, f"gone.{index}")
    pipe.execute()
    push(db)
    take(consumer("holding.1"))
    for name in ("registered.1", "ours.1"):
        db.xgroup_createconsumer(WORK, GROUP, name)
    register(link, [Registration("registered.1", "idle", 0, 0)])
    assert prune_consumers(link, keep={"ours.1"}) == [], "they were busy within the hour"
    assert len(prune_consumers(link, keep={"ours.1"}, idle_s=0)) == 1000
    names = {about["name"].decode() for stream in (WORK, EVENTS) for about in db.xinfo_consumers(stream, GROUP)}
    assert names == {"holding.1", "registered.1", "ours.1"}
    assert len(pending(db)) == 1


def test_consumers_of_another_systems_group_are_left_alone(db: Client, consumer: Make, link: Link) -> None:
    """Whatever they are called, also like ours: only those go that have settled something as ours do."""
    stream, group = "work:planner", "executor-group"
    db.xgroup_create(stream, group, "0", mkstream=True)
    foreign = ("executor-7f3a", "planner-host.3", "host.1")
    for name in (*foreign, "gone.1", "gone.2"):
        db.xgroup_createconsumer(stream, group, name)
    for name in ("gone.1", "stays.1"):
        push(db)
        worker = consumer(name)
        settle(worker, take(worker), commit(state_key=None))
    register(link, [Registration("stays.1", "idle", 0, 0)])
    streams, groups = (WORK, EVENTS, stream), Groups({stream: group})
    assert prune_consumers(link, idle_s=0, streams=streams, groups=groups) == ["gone.1"]
    assert {about["name"].decode() for about in db.xinfo_consumers(stream, group)} == {*foreign, "gone.2"}


def test_marks_of_consumers_that_went_with_their_group_are_pruned(db: Client, consumer: Make, link: Link) -> None:
    """Their group knows them no more; who is registered or ours stays."""
    for name in ("gone.1", "registered.1", "ours.1"):
        push(db)
        worker = consumer(name)
        settle(worker, take(worker), commit(state_key=None))
    db.xgroup_destroy(WORK, GROUP), db.xgroup_destroy(EVENTS, GROUP)
    register(link, [Registration("registered.1", "idle", 0, 0)])
    assert prune_consumers(link, keep={"ours.1"}) == ["gone.1"]
    assert db.hkeys(MARKERS) == [b"registered.1", b"ours.1"]


@pytest.mark.parametrize("loss", ["trimmed", "group"])
def test_what_was_forgiven_of_entries_that_are_gone_is_forgotten(
    db: Client, consumer: Make, link: Link, loss: str
) -> None:
    """A producer that trims what was given back, or whoever destroys the group, leaves nothing that grows."""
    gone, kept = push(db), push(db, stream=EVENTS)
    worker = consumer("w.1")
    for _ in (gone, kept):
        worker.release(take(worker).held, counted=False)
    if loss == "trimmed":
        db.xtrim(WORK, maxlen=0)
        assert worker.take(stale=[(WORK, gone)]) is None
    else:
        db.xgroup_destroy(WORK, GROUP)
    assert prune_uncounted(link) == 1
    assert not db.exists(uncounted_key(WORK)) and db.hgetall(uncounted_key(EVENTS)) == {kept.encode(): b"1"}
