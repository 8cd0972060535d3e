"""What items wait for: one list for all of it, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from executor_worker.broker import WORK_STREAMS, Consumer, Link
from executor_worker.broker.connection.script import LuaText
from executor_worker.broker.names import AWAITED, PARKED, PARKED_COUNTS
from executor_worker.broker.queue.backlog import backlog
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.gates import GATES
from executor_worker.broker.queue.source import Sources
from executor_worker.broker.queue.stale import Sweeper
from executor_worker.broker.queue.waits import Survey, parked
from executor_worker.broker.queue.waits import survey as survey_of
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, pending, push, settle, survey, take

Make = Callable[..., Consumer]

DOORS = LuaText(
    "doors",
    """
-- A door lets in whom it names: <key> is a set of pools; each that goes in takes one of <key>:free.
gates.door = {
  room = function(key, who)
    local free = tonumber(redis.call('GET', key .. ':free') or 0)
    return redis.call('SISMEMBER', key, string.match(who, '^(.*)%.')) == 1 and free or 0
  end,
  enter = function(key) redis.call('DECR', key .. ':free') end,
}
""",
)
GUARDED = LuaText(
    "guarded",
    """
-- A document's item names doors, `"doors":"a b"`; it is set aside for the first that is shut.
local open_document = kinds[#kinds].open
kinds[#kinds].open = function(one)
  local doors = string.match(one.fields[2], '"doors":%s*"([^"]*)"')
  for door in string.gmatch(doors or '', '%S+') do
    if not one.how and redis.call('EXISTS', 'dago:door:' .. door .. ':shut') == 1 then
      waits.set_aside(one.stream, one.group, one.consumer, one.entry, 'dago:door:' .. door, '0', '')
      return false
    end
  end
  return open_document(one)
end
""",
)


@pytest.fixture
def guarded(consumer: Make) -> Make:
    """Make consumers that know doors."""
    source = replace(DOCUMENTS, lua=(*DOCUMENTS.lua, DOORS, GUARDED))
    return lambda name: consumer(name, sources=Sources(source))


def doors(link: Link, pool: str = "b") -> Survey:
    """Look as the keeper of *pool* does, by a program that knows doors."""
    return survey_of(link, pool, WORK_STREAMS, (), place_s=15.0, most=5, gates=(*GATES, DOORS))


def open_door(db: Client, name: str, *pools: str, free: int = 10) -> None:
    db.delete(f"dago:door:{name}:shut")
    db.sadd(f"dago:door:{name}", *pools)
    db.set(f"dago:door:{name}:free", free)


def test_item_waits_for_a_pool_that_is_let_in(db: Client, guarded: Make, link: Link) -> None:
    """Another pool neither takes it nor is told of it."""
    here, there = guarded("a.1"), guarded("b.1")
    entry = push(db)
    assert here.park(take(here).held, "dago:door:x", 0)
    open_door(db, "x", "b")
    assert here.take() is None and doors(link, "a").ready == []
    assert doors(link).ready == [(WORK, entry)]
    taken = take(there)
    assert (taken.held.entry, taken.held.attempt) == (entry, 1)
    assert db.get("dago:door:x:free") == b"9", "it went in by the door"
    settle(there, taken)
    assert pending(db) == {} and db.hlen(PARKED) == 0


def test_kind_sets_items_aside_in_the_step_that_takes_them(db: Client, guarded: Make, link: Link) -> None:
    """In their order, uncounted; what needs nothing passes by; what needs several waits for one after the other."""
    worker = guarded("b.1")
    db.mset({"dago:door:x:shut": 1, "dago:door:y:shut": 1})
    first, second = push(db, "1", doors="x y"), push(db, "2", doors="x")
    passing = push(db, "3", graph="g3")
    taken = take(worker)
    assert taken.held.entry == passing
    assert {(one.entry, one.key) for one in parked(link, b"0", page=10)[1]} == {
        (first, "dago:door:x"),
        (second, "dago:door:x"),
    }
    open_door(db, "x", "b")
    assert doors(link).ready == [(WORK, first), (WORK, second)]
    assert take(worker).held.entry == second, "the first has met its next door"
    assert [(one.entry, one.key) for one in parked(link, b"0", page=10)[1]] == [(first, "dago:door:y")]
    open_door(db, "y", "b")
    taken = take(worker)
    assert (taken.held.entry, taken.held.attempt) == (first, 1)


def test_item_goes_back_to_its_place(db: Client, guarded: Make) -> None:
    """In the order in which entries were added, not in which they came to wait."""
    worker = guarded("b.1")
    entries = [push(db, str(number)) for number in range(3)]
    taken = [take(worker) for _ in entries]
    for one in reversed(taken):
        assert worker.park(one.held, "dago:door:x", 0)
    open_door(db, "x", "b")
    assert [take(worker).held.entry for _ in entries] == entries


def test_unknown_things_keep_what_waits_for_them(db: Client, consumer: Make, link: Link) -> None:
    """A newer program beside us lets items wait for what we know nothing of: we leave them alone."""
    worker = consumer("b.1")
    entry = push(db)
    assert worker.park(take(worker).held, "dago:news:x", 0)
    assert survey(link) == Survey(1, 0, None, [])
    assert worker.take() is None and worker.take(stale=[(WORK, entry)]) is None
    assert Sweeper(link, lease_s=0.001).stale(5) == []
    assert db.sismember(AWAITED, "dago:news:x")


def test_what_waits_is_counted_by_stream(db: Client, guarded: Make, link: Link) -> None:
    """As it comes and goes, also where the row is deleted by hand: then nothing waits any more."""
    worker = guarded("b.1")
    for stream in (WORK, EVENTS, WORK):
        push(db, stream=stream)
    for _ in range(3):
        assert worker.park(take(worker).held, "dago:door:x", 0)

    def counts() -> dict[str, int]:
        return {one.stream: one.parked for one in backlog(link, delete_settled=True)}

    assert counts() == {WORK: 2, EVENTS: 1}
    open_door(db, "x", "b", free=1)
    take(worker)
    assert sum(counts().values()) == 2
    db.delete("dago:door:x", "dago:door:x:waiting")
    doors(link)
    assert counts() == {WORK: 0, EVENTS: 0} and not db.exists(PARKED, PARKED_COUNTS, AWAITED)
    assert len(Sweeper(link, lease_s=1).stale(5)) == 2, "they are stale like any that was given back"
