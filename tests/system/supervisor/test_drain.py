"""The ways out: TERM, INT, QUIT, twice, over the deadline; and when the supervisor is killed itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.kit import Stopwatch, alive, holds_for, wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_while_idle_ends_at_once(start: Start, number: signal.Signals) -> None:
    """Idle workers leave whatever they are waiting for; the keeper goes last; the end is clean."""
    pool = start(poll_ms=30_000)
    began = Stopwatch()
    pool.signal(number)
    assert pool.wait(2) == 0
    assert began.own_s() < 1
    assert pool.log[-1]["event"] == "pool.stopped"
    closed, last = pool.lines("keeper.closed")[-1], pool.lines("slot.left")[-1]
    assert closed["at"] > last["at"]
    assert not pool.left_behind()


def test_term_while_busy_finishes_the_item(start: Start) -> None:
    """What is in hand is finished; nothing new is begun."""
    pool = start()
    pool.tell(1, "hold")
    pool.signal(signal.SIGTERM)
    pool.wait_rows(lambda rows: rows[1]["state"] == "draining")
    wait_until(lambda: "0 busy, 1 leaving" in pool.command(pool.pid), 5, "its title says that it waits for one")
    assert not pool.lines("done", slot=1)
    pool.let_go()
    assert pool.wait() == 0
    assert pool.lines("done", slot=1)
    assert not pool.left_behind()


def test_term_to_the_whole_group_is_the_supervisors(start: Start) -> None:
    """As `kill -- -PGID` and `timeout` send it: workers finish what they have, the one keeper stays until they have."""
    pool = start()
    pool.tell(1, "sleep", 0.7)
    os.killpg(pool.pid, signal.SIGTERM)
    assert pool.wait() == 0
    assert len(pool.lines("keeper.up")) == len(pool.lines("keeper.left")) == 1
    assert pool.lines("keeper.closed")[0]["at"] > pool.lines("done", slot=1)[0]["at"]
    assert {line["level"] for line in pool.lines("slot.left")} == {"info"} and not pool.lines("slot.dead")


def test_term_with_an_item_over_the_deadline_kills_and_has_it_given_back(start: Start) -> None:
    """At the drain's deadline the rest is killed, the keeper gives back what they held, exit status 1."""
    pool = start(drain_timeout_s=0.5)
    pool.tell(1, "sleep", 60)
    began = Stopwatch()
    pool.signal(signal.SIGTERM)
    assert pool.wait(5) == 1
    assert began.wall_s() >= 0.5 and began.own_s() < 2
    assert not pool.lines("done", slot=1)
    assert pool.lines("item.released", slot=1, held="sleep held")
    assert not pool.left_behind()


def test_keeper_that_dies_during_a_drain_is_replaced(start: Start) -> None:
    """Leases are kept until the last worker is gone."""
    pool = start()
    pool.tell(1, "hold")
    keeper = pool.page()["keeper"]
    pool.signal(signal.SIGTERM)
    pool.wait_for("pool.draining")
    pool.kill(keeper)
    pool.wait_for("keeper.up", count=2)
    pool.let_go()
    assert pool.wait() == 0
    assert pool.lines("keeper.closed")


def test_keeper_killed_with_the_last_workers_is_replaced_to_give_back(start: Start) -> None:
    """Both die at once in a drain: a new keeper comes up for nothing but to give back what was held."""
    pool = start(workers=1)
    pool.tell(1, "sleep", 60)
    keeper, worker = pool.page()["keeper"], pool.worker(1)
    pool.signal(signal.SIGTERM)
    pool.wait_for("pool.draining")
    os.kill(keeper, signal.SIGSTOP)  # so that it can't be quicker
    pool.kill(worker)
    pool.kill(keeper)
    assert pool.wait() == 0
    assert pool.lines("item.released", slot=1, held="sleep held")


def test_worker_that_dies_during_a_drain_is_not_replaced(start: Start) -> None:
    """Its item is given back instead."""
    pool = start()
    pool.tell(1, "sleep", 60)
    pool.tell(2, "hold")
    worker = pool.worker(1)
    pool.signal(signal.SIGTERM)
    pool.wait_for("pool.draining")
    pool.kill(worker)
    pool.wait_for("item.released", slot=1)
    pool.let_go()
    assert pool.wait() == 0
    assert len(pool.lines("up", slot=1)) == 1


def test_second_term_soon_after_changes_nothing(start: Start) -> None:
    """Two in one breath are one: a shell and its terminal both send it."""
    pool = start()
    pool.tell(1, "sleep", 0.7)
    pool.signal(signal.SIGTERM)
    pool.wait_for("pool.draining")
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
    assert pool.lines("done", slot=1)


def test_second_term_later_releases_at_once(start: Start) -> None:
    """A second one that is meant: what is in hand is given back now."""
    pool = start()
    pool.tell(1, "sleep", 60)
    pool.signal(signal.SIGTERM)
    draining = pool.wait_for("pool.draining")
    wait_until(lambda: time.monotonic() > draining["at"] + 1.1, 5)
    pool.signal(signal.SIGINT)
    assert pool.wait(2) == 0
    assert pool.lines("gave.back", slot=1, held="sleep held")
    assert not pool.left_behind()


def test_quit_releases_at_once(start: Start) -> None:
    """QUIT: give back, leave; exit clean where all could."""
    pool = start()
    pool.tell(1, "sleep", 60)
    pool.signal(signal.SIGQUIT)
    assert pool.wait(2) == 0
    assert pool.lines("gave.back", slot=1)


def test_quit_kills_who_can_not_let_go(start: Start) -> None:
    """A worker that does not hear it: killed, its item given back by the keeper, exit status 1."""
    pool = start(hurry_timeout_s=0.3)
    pool.tell(1, "deaf")
    pool.wait_for("deaf")
    pool.signal(signal.SIGQUIT)
    assert pool.wait(3) == 1
    assert pool.lines("item.released", slot=1, held="deaf held")


def test_deadlines_hold_during_a_drain(start: Start) -> None:
    """A hung worker is not waited for until the drain's deadline."""
    pool = start()
    pool.tell(1, "hang", 0.3)
    pool.signal(signal.SIGTERM)
    assert pool.wait(3) == 0
    assert pool.lines("slot.dead", slot=1, why="took_too_long")


def test_stopped_keeper_does_not_hold_up_the_end(start: Start) -> None:
    """It gets its time to close, then it is killed."""
    pool = start(keeper_close_s=0.3, keeper_silence_s=60)
    os.kill(pool.page()["keeper"], signal.SIGSTOP)
    pool.signal(signal.SIGTERM)
    assert pool.wait(3) == 0
    assert not pool.left_behind()


@pytest.mark.parametrize("how", ["plain", "daemon", "bare", "forked"])
def test_nothing_of_a_tool_is_left_after_a_drain(start: Start, how: str) -> None:
    """Whatever a tool has left behind goes with the pool."""
    pool = start(drain_timeout_s=0.2)
    pool.tell(1, "spawn", how)
    tool = pool.spawned()
    pool.signal(signal.SIGTERM)
    assert pool.wait(5) == 1
    assert not alive(tool)


def test_companions_go_last(start: Start, pool: DummyPool) -> None:
    """What was started beside the pool serves it to its end, and does not outlive it."""
    (pool.folder / "companion").touch()
    start()
    companion = pool.companion()
    pool.tell(1, "hold")
    pool.signal(signal.SIGTERM)
    pool.wait_for("pool.draining")
    holds_for(lambda: alive(companion), 0.2)
    pool.let_go()
    assert pool.wait() == 0
    assert not alive(companion)
    assert [line["level"] for line in pool.lines("companion.died")] == ["info"], "it was told to end"


@pytest.mark.parametrize("how", ["plain", "daemon", "bare", "forked"])
def test_killed_supervisor_leaves_nothing(start: Start, how: str) -> None:
    """Workers, idle, busy or stuck in C, the keeper, and daemons of tools: all gone within a second."""
    pool = start(workers=4)
    pool.tell(1, "spawn", how)
    tool = pool.spawned()
    pool.tell(2, "sleep", 60)
    pool.tell(3, "spin", 60)
    if how == "bare":  # without any mark it is only known from having been seen
        keeper_looks_every_s = 1.0
        holds_for(lambda: alive(tool), 3 * keeper_looks_every_s)
    began = Stopwatch()
    pool.kill(pool.pid)
    wait_until(lambda: not alive(tool) and not pool.left_behind(), 2, "everything to be gone")
    assert began.own_s() < 1


def test_killed_supervisor_with_its_keeper_held_up_leaves_nothing(start: Start) -> None:
    """A keeper that is stuck in a duty still clears away."""
    pool = start(keeper_silence_s=60)
    pool.tell(1, "spawn", "daemon")
    tool = pool.spawned()
    (pool.folder / "keeper.hang").touch()
    wait_until(lambda: not (pool.folder / "keeper.hang").exists(), 5, "the keeper to hang")
    pool.kill(pool.pid)
    wait_until(lambda: not alive(tool) and not pool.left_behind(), 1, "everything to be gone")
