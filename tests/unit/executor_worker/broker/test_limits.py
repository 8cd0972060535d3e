"""Limits over all hosts: never more at once than allowed, whoever dies, in order of entry, and nobody starves."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import GROUP, Claim, Consumer, Link
from executor_worker.broker.connection.script import Script
from executor_worker.broker.fleet.limits import look_at_limits
from executor_worker.broker.names import AWAITED, LIMITS, PARKED, PLACES, ROLE_GROUP
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.gates import GATES
from executor_worker.broker.queue.source import PlaceLimits, Sources
from executor_worker.broker.queue.waits import Survey, let_go, survey
from executor_worker.broker.roles.source import JobCommit, RoleQueue, role_source
from tests.unit.executor_worker.broker.acts import WORK, Client, commit, push, take

ROLES = ("a", "b", "c")
STREAMS = tuple(f"jobs:{role}" for role in ROLES)
LEASE_S = 30.0

Make = Callable[..., Consumer]
MakeFleet = Callable[..., "Fleet"]


class Fleet:
    """Workers of one pool, and its keeper; *most* by the limit's name."""

    def __init__(self, db: Client, consumer: Make, link: Link, pool: str, **most: int) -> None:
        limits = {"roles" if name == "total" else f"role:{name}": number for name, number in most.items()}
        self.limits = PlaceLimits(limits, LEASE_S)
        queues = [
            RoleQueue(role, f"jobs:{role}", tuple(name for name in (f"role:{role}", "roles") if name in limits))
            for role in ROLES
        ]
        self.sources = Sources(role_source(queues, ttl_s=60, start="0"), limits=self.limits)
        self._db, self._consumer, self._link, self._pool = db, consumer, link, pool
        self._workers: dict[int, Consumer] = {}

    def worker(self, slot: int, *, anew: bool = False) -> Consumer:
        if anew or slot not in self._workers:
            name = f"{self._pool}.{slot}"
            self._workers[slot] = self._consumer(name, sources=self.sources, lease_s=LEASE_S)
        return self._workers[slot]

    def take(self, slot: int = 1) -> Claim | None:
        return self.worker(slot).take()

    def survey(self) -> Survey:
        """Look as its keeper does."""
        gates = (*GATES, *self.limits.parts())
        return survey(self._link, self._pool, STREAMS, (), place_s=15.0, most=50, gates=gates)

    def look(self) -> dict[str, tuple[int, int, int]]:
        """Taken, most and waiting of each limit, as its keeper counts them."""
        views = look_at_limits(self._link, self.limits.most, lease_s=LEASE_S)
        return {view.name: (view.used, view.most, view.waiting) for view in views}


@pytest.fixture
def fleet(db: Client, consumer: Make, link: Link) -> MakeFleet:
    return lambda pool="p", **most: Fleet(db, consumer, link, pool, **most)


def add(db: Client, role: str, count: int = 1) -> list[str]:
    return [db.xadd(f"jobs:{role}", {"jobId": f"{role}{number}", "task": "x"}).decode() for number in range(count)]


def settle(claim: Claim, *, take_next: bool = False) -> Claim | None:
    held = claim.held
    record = b'{"entry_id":"%s","status":"completed"}' % held.entry.encode()
    commit = JobCommit(
        f"dago:job:{held.entry}", record, f"dago:executor:cancelled:{held.entry}", 60, {"MessageId": "x"}
    )
    return claim.settle(commit, take_next=take_next).next


def lose(db: Client, claim: Claim) -> None:
    """Let its holder's host be lost, longer than a lease ago."""
    held = claim.held
    idle = int(LEASE_S * 1000) + 1000
    db.xclaim(held.stream, ROLE_GROUP, held.consumer, 0, [held.entry], idle=idle, justid=True)
    for key in db.keys("dago:limit:*"):
        if db.type(key) == b"zset" and b"|" not in key:
            db.zadd(key, {f"{ROLE_GROUP} {held.stream} {held.entry}": 0}, xx=True)


def assert_nothing_left(db: Client) -> None:
    """No place is taken, nothing waits, and no key of it is left but turns."""
    assert not db.hlen(PLACES)
    assert not db.hlen(PARKED)
    assert [key for key in db.keys("dago:limit:*") if db.type(key) == b"zset"] == []


def test_full_lines_are_not_looked_at_until_a_place_is_free(db: Client, fleet: MakeFleet) -> None:
    """They leave the list of what is asked at each take; a settle brings them back in the same step."""
    pool = fleet(a=1)
    first, second = add(db, "a", 2)
    [free] = add(db, "b")
    running = pool.take(1)
    other = pool.take(2)
    assert running is not None and running.held.entry == first
    assert other is not None and other.held.entry == free, "it goes on to what has room"
    assert pool.take(3) is None
    assert db.smembers(AWAITED) == set(), "nobody asks for it any more"
    assert pool.look()["role:a"] == (1, 1, 1)
    assert (pool.survey().awaited, pool.survey().ready) == (1, [])
    following = settle(running, take_next=True)
    assert following is not None
    assert (following.held.entry, following.held.attempt) == (second, 1)
    settle(following)
    settle(other)
    pool.survey()
    assert pool.look()["role:a"] == (0, 1, 0)
    assert_nothing_left(db)
    assert not db.exists(AWAITED, LIMITS)


@pytest.mark.parametrize(("most", "overtaker"), [({"a": 1}, 2), ({"total": 1}, 2), ({"a": 2}, 3)])
def test_last_place_is_the_earlier_entrys_whichever_worker_opens_its_own_first(
    db: Client, fleet: MakeFleet, event_fd: int, monkeypatch: pytest.MonkeyPatch, most: dict[str, int], overtaker: int
) -> None:
    """Blocking reads bring an entry to each of several idle workers; the last to open its own has the first."""
    pool = fleet(**most)
    assert pool.take() is None, "the group is made"
    entries = add(db, "a", overtaker)
    running = [pool.take(slot) for slot in range(3, overtaker + 1)]
    early, late = pool.worker(1), pool.worker(2)
    link = early._link
    run, got = link.run, list[Claim | None]()

    def run_after_the_other(script: Script, *words: Any) -> Any:
        if script.name == "confirm":
            got.extend((late.wait(event_fd, 5), late.take()))
        return run(script, *words)

    monkeypatch.setattr(link, "run", run_after_the_other)
    early.may_have_unseen = late.may_have_unseen = False
    first = early.wait(event_fd, 5)
    assert got == [None, None], "it waits, and does not take back at once what waits"
    assert first is not None and first.held.entry == entries[-2]
    for claim in filter(None, running):
        settle(claim)
    last = settle(first, take_next=True)
    assert last is not None and (last.held.entry, last.held.attempt) == (entries[-1], 1)


def test_place_of_an_entry_that_nobody_opens_goes_to_the_next(db: Client, fleet: MakeFleet, event_fd: int) -> None:
    """Its worker was killed with the answer on the line: the next waits for seconds at most, and keepers tell of it."""
    pool = fleet(a=1)
    assert pool.take() is None, "the group is made"
    lost, second = add(db, "a", 2)
    db.xreadgroup(ROLE_GROUP, "p.9", {"jobs:a": ">"}, count=1)
    assert pool.take(1) is None and pool.take(2) is None
    assert pool.survey().ready == [("jobs:a", second)]
    db.xclaim("jobs:a", ROLE_GROUP, "p.9", 0, [lost], idle=2000, justid=True)
    taken = pool.take(2)
    assert taken is not None and (taken.held.entry, taken.held.attempt) == (second, 1)


def test_nodes_wait_only_for_earlier_ones_that_name_the_same_limit(db: Client, consumer: Make) -> None:
    """One on its way that names none, or another, keeps no place from those that are read after it."""
    limits = PlaceLimits({"slow": 1, "other": 1}, LEASE_S, of_nodes=True)
    worker = consumer("p.1", sources=Sources(DOCUMENTS, limits=limits))
    assert worker.take() is None, "the group is made"
    for config in ({}, {"limit": "other"}):
        push(db, config=config)
        db.xreadgroup(GROUP, "p.9", {WORK: ">"}, count=1)
        push(db, config={"limit": ["slow"]})
        claim = take(worker)
        assert worker.settle(claim.held, commit(expected=None), take_next=False).ending.over
    push(db, config={"limit": ["other", "slow"]})
    db.xreadgroup(GROUP, "p.9", {WORK: ">"}, count=1)
    push(db, config={"limit": ["slow"]})
    assert worker.take() is None


def test_lost_host_gives_its_place_back_with_its_lease(db: Client, fleet: MakeFleet) -> None:
    """Not before; then whoever looks finds room, and a keeper is told what can be taken."""
    pool, other = fleet("p", a=1, total=1), fleet("q", a=1, total=1)
    _, second = add(db, "a", 2)
    lost = pool.take()
    assert lost is not None
    assert other.take() is None
    assert other.look()["role:a"] == (1, 1, 1), "its time is not up"
    lose(db, lost)
    assert other.look()["role:a"] == (0, 1, 1)
    assert other.survey().ready == [("jobs:a", second)]
    taken = other.take()
    assert taken is not None and taken.held.entry == second
    stale = other.worker(2).take(stale=[("jobs:a", lost.held.entry)])
    assert stale is None, "what was lost waits like all others"
    settle(taken)
    assert settle(lost) is None, "it came too late"
    last = other.take()
    assert last is not None and (last.held.entry, last.held.attempt) == (lost.held.entry, 2)
    settle(last)
    assert_nothing_left(db)


def test_raised_limit_lets_in_what_waits_at_once(db: Client, fleet: MakeFleet) -> None:
    """A pool with the higher number finds room for as many, also if nothing is settled."""
    pool = fleet("p", a=1)
    entries = add(db, "a", 4)
    assert pool.take() is not None
    assert pool.take(2) is None
    raised = fleet("p", a=3)
    assert [entry for _, entry in raised.survey().ready] == entries[1:3]
    taken = [raised.take(slot) for slot in (2, 3)]
    assert [one and one.held.entry for one in taken] == entries[1:3]
    assert raised.take(4) is None


def test_roles_take_turns_for_the_total(db: Client, fleet: MakeFleet) -> None:
    """However many of one were there first; each within its own limit."""
    pool = fleet(total=1)
    for role in ROLES:
        add(db, role, 4)
    claim = pool.take()
    while pool.take(2) is not None:
        pass  # all have come to wait
    order = []
    while claim is not None:
        order.append(claim.held.stream[-1])
        claim = settle(claim, take_next=True)
    assert "".join(order) == "a" + 3 * "abc" + "bc"
    assert_nothing_left(db)


def test_cancelled_and_released_jobs_take_no_place(db: Client, fleet: MakeFleet, link: Link) -> None:
    """One given back makes room for the next in line; one that was cancelled is handed out, to be answered."""
    pool = fleet(a=1)
    _, second, third = add(db, "a", 3)
    running = pool.take()
    assert running is not None
    assert pool.take(2) is None
    assert running.release(counted=False)
    following = pool.take(2)
    assert following is not None and following.held.entry == second
    db.set("dago:executor:cancelled:a2", "{}")
    assert pool.worker(3).take(stale=[("jobs:a", third)]) is None, "it waits"
    let_go(link, [("jobs:a", third)])  # as its keeper does
    cancelled = pool.worker(3).take(stale=[("jobs:a", third)])
    assert cancelled is not None and cancelled.delivery.brought
    assert pool.look()["role:a"] == (1, 1, 0)


@pytest.mark.parametrize("seed", range(4))
def test_limits_hold_whatever_happens(db: Client, fleet: MakeFleet, seed: int) -> None:
    """At random: takes, ends, releases, deaths, lost hosts. Limits hold at each moment, and all is done in the end."""
    chance = random.Random(seed)
    most = {"a": 1, "b": 3, "total": 3}
    pools = [fleet("p", **most), fleet("q", **most)]
    holding: dict[tuple[int, int], Claim] = {}
    done: Counter[str] = Counter()
    left = 30

    def note(who: tuple[int, int], claim: Claim | None) -> None:
        if claim is not None:
            holding[who] = claim

    def step(busy: bool) -> None:
        nonlocal left
        who = (chance.randrange(2), chance.choice((1, 2, 3, 9)))
        pool, claim = pools[who[0]], holding.pop(who, None)
        if left and chance.random() < 0.3:
            left -= 1
            add(db, chance.choice(ROLES))
        what = chance.random()
        if claim is None:
            note(who, pool.take(who[1]))
        elif not busy or what < 0.6:
            done[f"{claim.held.stream} {claim.held.entry}"] += 1
            note(who, settle(claim, take_next=chance.random() < 0.7))
        elif what < 0.75:
            note(who, pool.worker(who[1], anew=True).take())
        elif what < 0.9:
            claim.release(counted=chance.random() < 0.5)
        else:
            lose(db, claim)
            pool.look()
            stale = [(claim.held.stream, claim.held.entry)]
            other = (who[0], 9)
            if other not in holding:
                note(other, pool.worker(9).take(stale=stale))
        if chance.random() < 0.2:
            pool.survey()

    def assert_held() -> None:
        running = Counter(claim.held.stream[-1] for claim in holding.values())
        assert running["a"] <= 1 and running["b"] <= 3 and running.total() <= 3, running

    for _ in range(150):
        step(busy=True)
        assert_held()
    for _ in range(400):
        step(busy=False)
        assert_held()
        stale = [(stream, row["message_id"].decode()) for stream in STREAMS for row in rows(db, stream)]
        if 9 not in {slot for _, slot in holding} and not left:
            note((0, 9), pools[0].worker(9).take(stale=stale))
        if not left and not holding and not any(db.xlen(stream) for stream in STREAMS):
            break
    assert [db.xlen(stream) for stream in STREAMS] == [0, 0, 0]
    assert set(done.values()) == {1}
    assert len(done) == 30
    for pool in pools:
        pool.look()
        pool.survey()
    assert_nothing_left(db)


def rows(db: Client, stream: str) -> Any:
    """Pending rows that look stale."""
    return db.xpending_range(stream, ROLE_GROUP, "-", "+", 100, idle=int(LEASE_S * 1000))
