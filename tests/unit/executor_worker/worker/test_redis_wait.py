"""How long a worker waits for a Redis that is away."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from executor_worker.worker import redis_wait
from executor_worker.worker.redis_wait import STUCK, STUCK_S, RedisWait
from supervisor.scoreboard.scoreboard import Row, Scoreboard


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Row:
    """A slot's row whose waits take no time."""
    monkeypatch.setattr(redis_wait, "wait_for_wake", lambda *_: None)
    return Scoreboard(1).place(1)


def tries_until_given_up(row: Row, alone: Callable[[], bool]) -> int:
    """Count the tries, one a second, for a lease of 10 s and a state that is kept for 100 s."""
    clock = itertools.count()
    wait = RedisWait(row, alone, alone_s=10, away_s=100, clock=lambda: float(next(clock) // 2))
    return next(tries for tries in itertools.count(1) if not wait.wait(tries))


def test_a_worker_that_alone_has_no_connection_gives_up_after_a_lease(row: Row) -> None:
    """Another one can go on with its item."""
    assert tries_until_given_up(row, lambda: True) == 12


def test_while_redis_is_away_for_all_a_result_is_kept_as_long_as_its_graph(row: Row) -> None:
    assert tries_until_given_up(row, lambda: False) == 102


def test_the_lease_of_one_who_is_alone_begins_when_redis_is_back_for_others(row: Row) -> None:
    """An outage for all does not count."""
    away = iter([False] * 30)
    assert tries_until_given_up(row, lambda: next(away, True)) == 30 + 12


def test_each_wait_has_its_own_time(row: Row) -> None:
    """What an item has waited for is not held against the next one."""
    now = [0.0]
    wait = RedisWait(row, lambda: True, alone_s=10, away_s=100, clock=lambda: now[0])
    assert wait.wait(1)
    now[0] = 50.0
    assert wait.wait(1) and wait.wait(2)
    now[0] = 61.0
    assert not wait.wait(3)


def test_who_waits_says_until_when_it_comes_back(row: Row) -> None:
    """A worker that hangs while it hands in a result is ended, as stuck; the item's own limit is not moved."""
    now = [100.0]
    wait = RedisWait(row, clock=lambda: now[0])
    row.begin("held", "item", "preparing")
    row.finish("settling", int(1e9), STUCK)
    assert wait.wait(1)
    assert (row.deadline_ns, row.on_deadline, row.phase) == (int((100 + STUCK_S) * 1e9), STUCK, "settling")
    row.begin_run("item", "running", int(5e9), "")
    assert wait.wait(2) and row.deadline_ns == int(5e9)
