"""Throttles that a fleet shares, on real servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import Consumer, Link
from executor_worker.broker.fleet.throttle import FleetThrottle
from executor_worker.broker.fleet.throttle_views import clear, throttled
from executor_worker.broker.names import AWAITED
from executor_worker.broker.queue.backlog import Backlog, backlog
from executor_worker.broker.queue.releases import Releases
from executor_worker.broker.queue.stale import Sweeper
from executor_worker.broker.queue.waits import let_go
from executor_worker.broker.queue.waits import parked as waiting_entries
from executor_worker.errors import ModelRefused
from tests.kit import wait_until
from tests.unit.executor_worker.broker.acts import WORK, Client, commit, pending, push, settle, survey, take
from tests.unit.executor_worker.broker.callers import KEY, MODEL, Fleet

PLACE_MS = 15_000


@pytest.fixture
def fleet(make_link: Callable[..., Link], db: Client) -> Fleet:
    return Fleet(make_link, db)


def test_one_refusal_holds_back_all_with_that_key_and_model(fleet: Fleet) -> None:
    """For as long as the provider asked; other models and other keys go on."""
    first, second = fleet.worker("w.1"), fleet.worker("w.2")
    assert fleet.admit(first) is None
    fleet.refuse(first, retry_after=20)
    for worker in (first, second):
        wait = fleet.admit(worker)
        assert wait is not None and 18 < wait.seconds <= 20 and wait.key
    assert fleet.admit(second, "m-2") is None
    assert fleet.admit(fleet.worker("w.3", key="another")) is None


def test_no_key_is_in_redis(fleet: Fleet) -> None:
    """What names the account can't be turned back."""
    fleet.refuse(fleet.worker("w.1"))
    names = b" ".join(fleet.db.keys("*")).decode()
    assert f":{MODEL}" in names and KEY not in names and "secret" not in names


def test_while_nobody_is_held_back_nothing_is_asked(fleet: Fleet, make_link: Callable[..., Link]) -> None:
    """One round trip a worker and model, for it to be known that the key works; then none, not even a connection."""
    link = make_link()
    worker = FleetThrottle(link, "w.1", "p", "", KEY, active=lambda: False, calling=lambda: 1)
    assert fleet.admit(worker) is None
    fleet.answer(worker)
    link.close()
    for _ in range(3):
        assert fleet.admit(worker) is None
        fleet.answer(worker)
    assert not link.connected


def test_without_redis_nobody_is_held_back(fleet: Fleet, make_link: Callable[..., Link]) -> None:
    """The provider will say so itself."""
    nowhere = make_link("127.0.0.1:1", timeout_s=0.2)
    worker = FleetThrottle(nowhere, "w.1", "p", "", KEY, active=lambda: True, calling=lambda: 1)
    assert fleet.admit(worker) is None
    fleet.refuse(worker)
    fleet.answer(worker)


def test_everybody_hears_of_a_refusal(fleet: Fleet, make_link: Callable[..., Link]) -> None:
    """At once, on the connection on which releases are heard of."""
    heard: list[str] = []
    releases = Releases(make_link(), heard.append)
    assert releases.heard() == []
    fleet.refuse(fleet.worker("w.1"))
    wait_until(lambda: not releases.heard() and heard, 5)


def test_half_as_many_call_afterwards_and_a_burst_counts_once(fleet: Fleet) -> None:
    """All of a burst are refused; only a call begun since then says more."""
    workers = [fleet.worker(f"w.{number}", active=False) for number in range(8)]
    for worker in workers:
        assert fleet.admit(worker) is None
    for worker in workers:
        fleet.refuse(worker)
    assert fleet.limit() == 4
    admitted = [worker for worker in workers if fleet.admit(worker) is None]
    assert len(admitted) == 4, "those that were refused ask, whatever the scoreboard says"
    fleet.refuse(admitted[0])
    assert fleet.limit() == 2
    fleet.refuse(admitted[1])
    assert fleet.limit() == 2


def test_answers_make_room(fleet: Fleet) -> None:
    """Twice as much each round until it is cut again, then one more a round."""
    workers = [fleet.worker(f"w.{number}", calling=4) for number in range(12)]

    def round_of_calls() -> int:
        admitted = [worker for worker in workers if fleet.admit(worker) is None]
        for worker in admitted:
            fleet.answer(worker)
        return len(admitted)

    fleet.refuse(workers[0])
    assert [round_of_calls() for _ in range(3)] == [2, 4, 8]
    assert fleet.admit(workers[0]) is None
    for worker in workers[1:10]:
        assert fleet.admit(worker) is None
    fleet.refuse(workers[0])
    assert fleet.limit() == 5
    for worker in workers[1:10]:
        fleet.answer(worker)
    assert fleet.limit() < 8, "the answers of before do not double it"
    limit = fleet.limit()
    round_of_calls()
    assert fleet.limit() == limit + 1


def test_a_clock_that_was_put_back_holds_nobody_up(fleet: Fleet, link: Link) -> None:
    """Neither a refusal nor a dead caller's key lasts for as long as Redis' clock has jumped."""
    one, two = fleet.worker("w.1"), fleet.worker("w.2")
    fleet.refuse(one, retry_after=20)
    (key,) = fleet.db.smembers(AWAITED)
    ahead_ms = int((time.time() + 7200) * 1000)
    fleet.db.hset(key, mapping={"not_before": ahead_ms + 20_000, "since": ahead_ms, "limit": 1})
    fleet.db.zadd(b"%s:calls" % key, {"dead.1": ahead_ms + PLACE_MS})
    assert [one.opens_s for one in throttled(link)] == [0.0]
    assert survey(link, (), most=5).opens_s is None
    assert fleet.admit(two) is None
    fleet.refuse(two, retry_after=20)
    wait = fleet.admit(two)
    assert wait is not None and 18 < wait.seconds <= 20


def test_where_nothing_is_asked_for_waits_double(fleet: Fleet) -> None:
    """From a second on; an answer begins anew."""
    worker = fleet.worker("w.1")
    waits = []
    for _ in range(3):
        fleet.refuse(worker, retry_after=None)
        wait = fleet.admit(worker)
        assert wait is not None
        waits.append(round(wait.seconds))
        (key,) = fleet.db.smembers(AWAITED)
        fleet.db.hset(key, "not_before", 0)
        assert fleet.admit(worker) is None
    assert waits == [1, 2, 4]
    fleet.answer(worker)
    assert fleet.state()["strikes"] == 0


def test_a_killed_callers_place_comes_back(fleet: Fleet, link: Link) -> None:
    """Unless its keeper says that it still calls."""
    one, two = fleet.worker("w.1", calling=2), fleet.worker("w.2")
    fleet.refuse(one)
    assert fleet.admit(one) is None
    full = fleet.admit(two)
    assert full is not None and full.seconds > 1.0
    (key,) = fleet.db.smembers(AWAITED)
    calls = key + b":calls"
    fleet.db.zadd(calls, {b"w.1": fleet.db.time()[0] * 1000 + 500})
    survey(link, ["w.1", "w.9"], most=1)
    assert fleet.db.zscore(calls, b"w.1") > fleet.db.time()[0] * 1000 + PLACE_MS / 2
    assert fleet.db.zscore(calls, b"w.9") is None
    fleet.db.zadd(calls, {b"w.1": fleet.db.time()[0] * 1000 - 1})
    assert fleet.admit(two) is None


def test_a_throttle_that_holds_nobody_is_forgotten(fleet: Fleet, link: Link) -> None:
    """It ends by itself, and the next look finds none."""
    fleet.refuse(fleet.worker("w.1"))
    assert survey(link, (), most=1).throttles == 1
    (key,) = fleet.db.smembers(AWAITED)
    assert 55_000 < fleet.db.pttl(key) <= 61_000
    fleet.db.delete(key)
    seen = survey(link, (), most=1)
    assert (seen.throttles, seen.opens_s, seen.ready) == (0, None, [])
    assert fleet.admit(fleet.worker("w.1")) is None and not fleet.db.exists(AWAITED)


def test_a_throttle_is_bounded_and_then_one_call_tries(fleet: Fleet) -> None:
    """Whatever was asked for: five minutes, then one call, and all the others wait for its end."""
    workers = [fleet.worker(f"w.{number}") for number in range(8)]
    for asked in (100_000, 301, 86_400):
        fleet.db.flushdb()
        fleet.refuse(workers[0], retry_after=asked)
        wait = fleet.admit(workers[1])
        assert wait is not None and 298 < wait.seconds <= 300
        open_now(fleet)
        admitted = [worker for worker in workers if fleet.admit(worker) is None]
        assert len(admitted) == 1
        fleet.refuse(admitted[0], retry_after=asked)
        wait = fleet.admit(workers[1])
        assert wait is not None and 298 < wait.seconds <= 300, "it tries again, and no earlier"
        open_now(fleet)
        fleet.answer(next(worker for worker in workers if fleet.admit(worker) is None))
        assert sum(fleet.admit(worker) is None for worker in workers) == 2, "an answer makes room, as ever"
    fleet.db.flushdb()
    fleet.refuse(workers[0], retry_after=300)
    open_now(fleet)
    assert sum(fleet.admit(worker) is None for worker in workers) == 4, "what is kept to needs no probe"


def open_now(fleet: Fleet) -> None:
    """Let the time pass that a throttle holds."""
    (key,) = fleet.db.smembers(AWAITED)
    fleet.db.hset(key, "not_before", 0)


# -- refused keys ---------------------------------------------------------------------------------


def refused(model_only: bool = False, why: str = "HTTP 401 authentication_error") -> ModelRefused:
    return ModelRefused("no", why=why, whole_key=not model_only)


def test_a_key_that_never_worked_holds_nobody_back(fleet: Fleet) -> None:
    """It is a wrong setting: each call fails at once."""
    worker = fleet.worker("w.1")
    assert fleet.admit(worker) is None
    assert worker.refused(MODEL, fleet.run_context, refused()) is None
    assert worker.key(MODEL) == "" and not fleet.db.exists(AWAITED)


def test_a_key_that_has_worked_is_tried_once_a_minute(fleet: Fleet, link: Link) -> None:
    """By whoever it has worked for; the others wait, and an answer lets all go on."""
    workers = [fleet.worker(f"w.{number}") for number in range(4)]
    fleet.answer(workers[0])
    wait = workers[1].refused(MODEL, fleet.run_context, refused())
    assert wait is not None and wait.seconds == 60 and wait.refused and wait.key == workers[1].key(MODEL)
    for worker in workers:
        held = fleet.admit(worker)
        assert held is not None and 58 < held.seconds <= 60 and held.refused
    (seen,) = throttled(link)
    assert (seen.name, seen.why, seen.refused) == (f"anthropic/{MODEL}", "HTTP 401 authentication_error", True)
    assert abs(seen.since - time.time()) < 10
    open_now(fleet)
    (probe,) = [worker for worker in workers if fleet.admit(worker) is None]
    again = probe.refused(MODEL, fleet.run_context, refused())
    assert again is not None and again.seconds == 60
    assert throttled(link)[0].since == seen.since, "it is still the same refusal"
    open_now(fleet)
    (probe,) = [worker for worker in workers if fleet.admit(worker) is None]
    fleet.answer(probe)
    assert all(fleet.admit(worker) is None for worker in workers)
    assert throttled(link) == []


def test_a_probe_that_says_nothing_is_followed_by_the_next_in_a_minute(fleet: Fleet) -> None:
    """A server that fails is no word about the key; a request it finds wrong is."""
    one, two = fleet.worker("w.1"), fleet.worker("w.2")
    fleet.answer(one)
    one.refused(MODEL, fleet.run_context, refused())
    open_now(fleet)
    assert fleet.admit(one) is None
    one.ended(MODEL, fleet.run_context, None, answered=False)
    wait = fleet.admit(two)
    assert wait is not None and wait.refused and 58 < wait.seconds <= 60
    open_now(fleet)
    assert fleet.admit(two) is None
    fleet.refuse(two, retry_after=5)
    wait = fleet.admit(one)
    assert wait is not None and not wait.refused, "who is asked to wait has been let in"


def test_a_model_that_a_key_may_not_use_is_not_the_key(fleet: Fleet) -> None:
    """It has worked for another model: that says nothing of this one, unless the whole key is refused."""
    worker = fleet.worker("w.1")
    worker.ended("other", fleet.run_context, None, answered=True)
    fresh = fleet.worker("w.2")
    assert fresh.refused(MODEL, fleet.run_context, refused(model_only=True)) is None
    assert fresh.refused(MODEL, fleet.run_context, refused()) is not None
    assert fleet.admit(fleet.worker("w.3", key="another")) is None
    assert fleet.worker("w.3", key="another").refused(MODEL, fleet.run_context, refused()) is None


def test_it_is_remembered_for_long_that_a_key_has_worked(fleet: Fleet) -> None:
    """A refusal may come weeks later, and its key is not in Redis."""
    fleet.answer(fleet.worker("w.1"))
    (known,) = fleet.db.keys("dago:executor:worked:*")
    assert fleet.db.pttl(known) > 29 * 86_400_000
    assert KEY.encode() not in known


def test_a_cleared_throttle_holds_nobody(fleet: Fleet, link: Link, consumer: Callable[..., Consumer]) -> None:
    """What waited for it is ready at once."""
    entry, _ = parked(fleet, consumer("a.1"))
    (seen,) = throttled(link)
    assert (seen.waiting, survey(link, (), most=5).ready) == (1, [])
    assert clear(link, seen) and not clear(link, seen)
    assert survey(link, (), most=5).ready == [(WORK, entry)]
    assert fleet.admit(fleet.worker("w.9")) is None


# -- items that wait ------------------------------------------------------------------------------


def parked(fleet: Fleet, consumer: Consumer, retry_after: float = 30) -> tuple[str, str]:
    """An item whose model is throttled, back in the stream; returns its entry and the throttle."""
    worker = fleet.worker(consumer.name, calling=2)
    entry = push(fleet.db)
    taken = take(consumer)
    fleet.refuse(worker, retry_after)
    key = worker.key(MODEL)
    assert consumer.park(taken.held, key, 1)
    return entry, key


def test_a_parked_item_is_nobodys_until_its_throttle_opens(
    fleet: Fleet, consumer: Callable[..., Consumer], link: Link
) -> None:
    """Neither offered nor swept nor found as one's own; then taken with its attempt as it was."""
    one, two = consumer("a.1"), consumer("b.1")
    entry, key = parked(fleet, one)
    again = consumer("a.1")
    assert again.take() is None, "a successor does not take it for its own"
    assert two.take(stale=[(WORK, entry)]) is None
    assert Sweeper(link, lease_s=1).stale(5) == []
    seen = survey(link, (), most=5)
    assert seen.ready == [] and seen.opens_s is not None and 25 < seen.opens_s <= 30
    assert pending(fleet.db)[entry][1] > 1e10, "no lease is held"
    fleet.db.hset(key, "not_before", 0)
    assert survey(link, (), most=5).ready == [(WORK, entry)]
    taken = take(two)
    assert (taken.held.entry, taken.held.attempt, taken.delivery.refused) == (entry, 1, 1)
    assert settle(two, taken).name == "settled"
    assert not fleet.db.exists(f"{WORK}:forgiven") and not fleet.db.exists(f"{key}:waiting")


def test_what_waits_is_told_apart_from_what_is_in_hand(
    fleet: Fleet, consumer: Callable[..., Consumer], link: Link
) -> None:
    """By stream, also where both have some; and each throttle says for how long, and how many wait."""
    one, two, events = consumer("a.1"), consumer("b.1"), "dago:events:executor.work"
    _, key = parked(fleet, one)
    held = push(fleet.db)
    assert take(one).held.entry == held
    push(fleet.db)
    lies = {stream.stream: (stream.depth, stream.pending, stream.parked, stream.waiting) for stream in backlog_of(link)}
    assert lies == {WORK: (3, 1, 1, 1), events: (0, 0, 0, 0)}
    take(two)
    fleet.db.xadd(events, {"data": b"{}"})
    assert two.park(take(two).held, key, 0)
    lies = {stream.stream: (stream.depth, stream.pending, stream.parked, stream.waiting) for stream in backlog_of(link)}
    assert lies == {WORK: (3, 2, 1, 0), events: (1, 0, 1, 0)}
    (seen,) = throttled(link)
    assert (seen.provider, seen.model, seen.waiting, seen.at_once) == ("anthropic", MODEL, 2, 1)
    assert 25 < seen.opens_s <= 30
    fleet.db.delete(key, f"{key}:waiting")
    assert throttled(link) == []


def backlog_of(link: Link) -> list[Backlog]:
    return backlog(link, delete_settled=True)


def test_new_items_of_another_kind_pass_by(fleet: Fleet, consumer: Callable[..., Consumer]) -> None:
    """What waits does not hold up what comes after it."""
    one = consumer("a.1")
    parked(fleet, one)
    later = push(fleet.db, "later")
    assert take(one).held.entry == later


def test_as_many_are_taken_as_may_call(fleet: Fleet, consumer: Callable[..., Consumer]) -> None:
    """Taking one takes its key with it, in the order in which they were added."""
    one, two = consumer("a.1"), consumer("b.1")
    entry, key = parked(fleet, one)
    second, _ = parked(fleet, one)
    fleet.db.hset(key, mapping={"not_before": 0, "limit": 1})
    assert take(two).held.entry == entry
    assert one.take() is None
    assert fleet.admit(fleet.worker("b.1")) is None, "the key is the taker's"
    fleet.answer(fleet_worker := fleet.worker("b.1"))
    assert fleet.admit(fleet_worker) is None
    fleet.answer(fleet_worker)
    assert take(one).held.entry == second


def test_settling_takes_what_waited(fleet: Fleet, consumer: Callable[..., Consumer]) -> None:
    """Busy workers need nobody to wake them."""
    one = consumer("a.1")
    entry, key = parked(fleet, one)
    push(fleet.db, "other", "g2")
    other = take(one)
    fleet.db.hset(key, "not_before", 0)
    _, _, upcoming = one.settle(other.held, commit(), take_next=True)
    assert upcoming is not None and upcoming.held.entry == entry


def test_parking_is_fenced_and_may_be_repeated(fleet: Fleet, consumer: Callable[..., Consumer]) -> None:
    """Only the holder does it; a repetition after a lost reply counts once."""
    one, two = consumer("a.1"), consumer("b.1", lease_s=0.0)
    entry = push(fleet.db)
    mine = take(one)
    theirs = take(two, stale=[(WORK, entry)])
    assert theirs.held.count == 2
    assert not one.park(mine.held, "dago:throttle:x", 0)
    assert two.park(theirs.held, "dago:throttle:x", 0) and two.park(theirs.held, "dago:throttle:x", 0)
    assert fleet.db.hget(f"{WORK}:forgiven", entry) == b"1"


def test_an_open_throttles_items_wait_for_nobody(fleet: Fleet, consumer: Callable[..., Consumer], link: Link) -> None:
    """Its state has ended meanwhile, or was lost: what waited for it is offered at once."""
    one = consumer("a.1")
    entry, key = parked(fleet, one)
    fleet.db.delete(key)
    assert survey(link, (), most=5).ready == [(WORK, entry)]
    assert take(consumer("b.1")).held.entry == entry
    wait_until(lambda: survey(link, (), most=5).throttles == 0, 2)


def test_what_waits_can_be_looked_through_and_let_go(
    fleet: Fleet, consumer: Callable[..., Consumer], link: Link
) -> None:
    """When its time is up or nobody wants it: it is taken then, whatever its throttle says."""
    one = consumer("a.1")
    first, key = parked(fleet, one)
    second = push(fleet.db, "m")
    assert one.park(take(one).held, key, 0, watched="dago:state:g", ends_at=12.5)
    _, waiting = waiting_entries(link, b"0", page=10)
    assert {(w.entry, w.ends_at, w.state_key) for w in waiting} == {(first, 0, ""), (second, 12.5, "dago:state:g")}
    let_go(link, [(WORK, second)])
    assert one.take() is None
    assert take(one, stale=[(WORK, first), (WORK, second)]).held.entry == second
    fleet.db.hset(key, "not_before", 0)
    assert take(one).held.entry == first
    assert waiting_entries(link, b"0", page=10) == (b"0", [])


def test_an_item_settled_elsewhere_is_passed_over(fleet: Fleet, consumer: Callable[..., Consumer]) -> None:
    """A key in the row for something that is gone holds nobody up."""
    one = consumer("a.1")
    entry, key = parked(fleet, one)
    db: Any = fleet.db
    db.xack(WORK, "executor-workers", entry)
    db.xdel(WORK, entry)
    second, _ = parked(fleet, one)
    fleet.db.hset(key, "not_before", 0)
    assert take(one).held.entry == second
