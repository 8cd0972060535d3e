"""How many slots a pool has by what there is to do: without processes, by a clock of our own."""

from __future__ import annotations

import random

import pytest

from supervisor.scaling import (
    LEAST,
    MEMORY,
    MOST,
    QUIET_S,
    RECENT,
    ROOM,
    THROTTLED,
    WORK,
    Bounds,
    Decision,
    Load,
    Scaling,
)


class Pool:
    """A pool of as many slots as was decided; `at` says the time and the load, and answers the decision."""

    def __init__(self, least: int = 2, most: int = 20) -> None:
        self.scaling = Scaling(Bounds(least, most), 0.0)
        self.slots = least

    def at(self, now: float, busy: int, waiting: int = 0, **more: int) -> Decision:
        decision = self.scaling.decide(self.slots, Load(busy, waiting, **more), now)  # type: ignore[arg-type]
        self.slots = decision.slots
        return decision


def test_it_grows_at_once_to_what_there_is_to_do() -> None:
    """What is in hand and what waits, up to the upper bound."""
    pool = Pool()
    assert pool.at(0, busy=1) == Decision(2, LEAST)
    assert pool.at(1, busy=2, waiting=3) == Decision(5, WORK)
    assert pool.at(1.25, busy=5, waiting=500) == Decision(20, MOST)


def test_it_shrinks_to_the_most_of_the_last_minute() -> None:
    """Not before a minute has passed without more to do; then to what there was, not to nothing."""
    pool = Pool()
    pool.at(100, busy=2, waiting=10)
    assert pool.slots == 12
    for second in range(1, 60):
        assert pool.at(100 + second, busy=3).slots == 12
    assert pool.at(100 + QUIET_S, busy=3) == Decision(3, RECENT)
    assert pool.at(101 + 2 * QUIET_S, busy=0) == Decision(2, LEAST)


def test_work_that_comes_once_a_minute_keeps_its_slots() -> None:
    """No flapping: over an hour of bursts the number changes once."""
    pool = Pool()
    changes = 0
    for tick in range(4 * 3600):
        before = pool.slots
        bursting = tick % (4 * 50) < 8
        pool.at(tick / 4, busy=pool.slots if bursting else 0, waiting=6 if bursting and pool.slots < 8 else 0)
        changes += pool.slots != before
    assert (changes, pool.slots) == (1, 8)


@pytest.mark.parametrize(
    ("against", "expected"),
    [
        ({"throttled": 1}, Decision(2, THROTTLED)),
        ({"room": 0}, Decision(2, MEMORY)),
        ({"room": -5}, Decision(2, MEMORY)),
        ({"room": 3}, Decision(5, WORK)),
    ],
)
def test_it_does_not_grow_against_throttles_or_memory(against: dict[str, int], expected: Decision) -> None:
    """More workers would wait with the others, or have the kernel kill some."""
    assert Pool().at(0, busy=2, waiting=50, **against) == expected


def test_where_slots_cannot_be_made_it_is_not_tried_again_for_a_minute() -> None:
    pool = Pool()
    pool.scaling.no_room(10.0)
    assert pool.at(11, busy=2, waiting=9) == Decision(2, ROOM)
    assert pool.at(10 + QUIET_S, busy=2, waiting=9) == Decision(11, WORK)


def test_bounds_are_moved_by_one_or_set() -> None:
    """TTIN and TTOU are felt at once, whichever bound is in the way; a fixed pool stays fixed."""
    assert Bounds(2, 20).one_more(5) == Bounds(6, 20)
    assert Bounds(2, 20).one_more(20) == Bounds(21, 21)
    assert Bounds(2, 20).one_fewer(5) == Bounds(2, 4)
    assert Bounds(2, 20).one_fewer(2) == Bounds(1, 1)
    assert Bounds(5, 5).one_more(5) == Bounds(6, 6)
    assert Bounds(5, 5).one_fewer(5) == Bounds(4, 4)
    assert (str(Bounds(2, 20)), str(Bounds(5, 5))) == ("2-20", "5")
    pool = Pool()
    pool.slots = 12
    pool.scaling.move(Bounds(2, 8))
    assert pool.at(0, busy=12, waiting=5) == Decision(8, MOST)
    pool.scaling.move(Bounds(10, 20))
    assert pool.at(0.5, busy=0) == Decision(10, LEAST)


def test_whatever_comes_it_stays_within_its_bounds_and_below_what_was_wanted() -> None:
    """Over made-up loads: never beyond the bounds, never more than the most there was to do in the last minute."""
    numbers = random.Random(1)
    pool = Pool(3, 9)
    demands: list[tuple[float, int]] = []
    for tick in range(20_000):
        now = tick / 4
        load = Load(numbers.randrange(10), numbers.choice((0, 0, 0, numbers.randrange(30))), numbers.random() < 0.1)
        demands = [one for one in demands if one[0] > now - QUIET_S]
        demands.append((now, min(max(load.busy + load.waiting, 3), 9)))
        pool.slots = pool.scaling.decide(pool.slots, load, now).slots
        assert 3 <= pool.slots <= 9
        if tick > QUIET_S * 4:
            assert pool.slots <= max(demand for _, demand in demands)
