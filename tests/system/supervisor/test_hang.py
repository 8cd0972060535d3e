"""Workers that are past a deadline, whatever they are stuck in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.kit import Stopwatch, holds_for, state_of, wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


@pytest.mark.parametrize("deed", ["hang", "spin"])
def test_worker_past_its_deadline_shows_its_stacks_and_is_killed(start: Start, deed: str) -> None:
    """Asleep or in C with the interpreter's lock: killed; the successor knows the failure_code and is not held up."""
    pool = start()
    other = pool.worker(2)
    taken = Stopwatch()
    pool.tell(1, deed, 0.2)
    died = pool.wait_for("slot.dead", slot=1)
    assert (died["cause"], died["why"]) == ("signal:SIGKILL", "took_too_long")
    up = pool.wait_for("up", slot=1, count=2)
    assert (up["failure_code"], up["found"]) == ("took_too_long", f"{deed} held")
    assert up["at"] - died["at"] < 0.5 + taken.others_s()
    shown = pool.wait_for("slot.overdue_stack", slot=1)
    assert f" {'hang' if deed == 'hang' else 'spin_in_c'} < " in shown["stack"] and shown["pid"] == died["pid"]
    assert pool.page()["counters"] == {"restarts\x1fdeadline": 1.0}
    assert pool.worker(2) == other


def test_kills_at_a_deadline_are_no_crash_loop(start: Start) -> None:
    """Slow items in a row: each time the next worker is there at once."""
    pool = start(workers=1)
    for round_ in range(3):
        pool.tell(1, "hang", 0.05)
        pool.wait_for("up", slot=1, count=round_ + 2)
    assert not pool.lines("slot.backing_off")


def test_stopped_worker_is_killed_at_its_deadline(start: Start) -> None:
    """SIGSTOP keeps nobody from being killed; no time is lost waiting for stacks it can't write."""
    pool = start()
    worker = pool.worker(1)
    pool.tell(1, "hang", 2.5)
    os.kill(worker, signal.SIGSTOP)
    condemned = pool.wait_for("slot.overdue", slot=1)
    assert condemned["process_state"] == "T"
    assert pool.wait_for("slot.stopped", slot=1)
    assert pool.wait_for("up", slot=1, count=2)["failure_code"] == "took_too_long"


def test_stopped_worker_is_left_alone_before_its_deadline(start: Start) -> None:
    """A worker that was stopped and goes on has not missed anything."""
    pool = start()
    pool.tell(1, "sleep", 0.4)
    worker = pool.worker(1)
    os.kill(worker, signal.SIGSTOP)
    pool.wait_for("slot.stopped", slot=1)
    holds_for(lambda: state_of(worker) == "T", 0.6)
    os.kill(worker, signal.SIGCONT)
    pool.wait_for("done", slot=1)
    assert pool.worker(1) == worker


def test_idle_worker_that_stays_stopped_is_replaced(start: Start) -> None:
    """It has no deadline to miss, but would be missing for ever."""
    pool = start(boot_timeout_s=2)
    worker = pool.worker(1)
    os.kill(worker, signal.SIGSTOP)
    pool.wait_for("slot.dead", slot=1, why="stopped")
    assert pool.wait_for("up", slot=1, count=2)["failure_code"] == ""


def test_silent_keeper_is_replaced_and_workers_go_on(start: Start) -> None:
    """A keeper that hangs in a duty is shown, killed and replaced; items in hand are not touched."""
    pool = start(keeper_silence_s=1.5)
    worker = pool.worker(1)
    pool.tell(1, "hold")
    (pool.folder / "keeper.hang").touch()
    pool.wait_for("keeper.dead", why="silent")
    pool.wait_for("keeper.up", count=2)
    pool.let_go()
    pool.wait_for("done", slot=1)
    assert pool.worker(1) == worker


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_keeper_that_is_gone_is_replaced(start: Start, number: signal.Signals) -> None:
    """Killed or stopped: there is a new one soon, and the workers stay."""
    pool = start(keeper_silence_s=1.5)
    before = pool.page()
    os.kill(before["keeper"], number)
    pool.wait_for("keeper.up", count=2)
    wait_until(lambda: pool.page()["keeper"] != before["keeper"], 5, "the new keeper to answer")
    assert pool.rows()[1]["pid"] == before["rows"][0]["pid"]


def test_keeper_that_dies_again_and_again_is_replaced_in_time(start: Start) -> None:
    """Its back-off ends where leases would: it stays as it is told, however many have died."""
    pool = start(keeper_wait_s=0.15)
    for number in range(5):
        pool.kill(pool.wait_for("keeper.up", count=number + 1)["pid"])
    pool.wait_for("keeper.up", count=6)
    assert [line["delay_s"] for line in pool.lines("keeper.backing_off")] == [0.1, 0.15, 0.15, 0.15]


def test_supervisor_that_was_stopped_replaces_nobody_by_mistake(start: Start) -> None:
    """After SIGCONT it has not looked for long, which is no fault of the keeper's."""
    pool = start(keeper_silence_s=3)
    pool.signal(signal.SIGSTOP)
    wait_until(lambda: state_of(pool.pid) == "T", 5, "the supervisor to stop")
    holds_for(lambda: state_of(pool.pid) == "T", 3.5)
    pool.signal(signal.SIGCONT)
    holds_for(lambda: not pool.lines("keeper.dead"), 0.6)


def test_an_idle_worker_that_hangs_is_replaced(start: Start) -> None:
    """With nothing in hand no deadline runs: it is woken when it was not heard of for long, and then killed."""
    pool = start(idle_timeout_s=4)
    other = pool.worker(2)
    pool.freeze(1)
    died = pool.wait_for("slot.dead", slot=1)
    assert (died["cause"], died["why"]) == ("signal:SIGKILL", "stuck")
    assert pool.wait_for("up", slot=1, count=2)["failure_code"] == ""
    assert " work < " in pool.wait_for("slot.overdue_stack", slot=1)["stack"]
    assert pool.worker(2) == other, "one that comes round is left alone"
