"""Workers that die, and what comes after."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.kit import Stopwatch, alive, holds_for, state_of, wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


def test_killed_worker_is_replaced_and_its_successor_finds_what_was_held(start: Start) -> None:
    """A kill -9 in mid-item: a new worker is up at once, in the same slot, and knows what to take over."""
    pool = start()
    others_s: list[float] = []
    for _ in range(5):
        pool.tell(1, "count", 1.0)
        pool.tell(1, "sleep", 60)
        ups = len(pool.lines("up", slot=1))
        worker, taken = pool.worker(1), Stopwatch()
        pool.kill(worker)
        assert pool.wait_for("up", count=ups + 1, slot=1)["found"] == "sleep held"
        others_s.append(taken.others_s())
    delays = pool.recoveries(slot=1)
    own_s = [delay - others for delay, others in zip(delays, others_s, strict=True)]
    assert sorted(own_s)[2] < 0.05, f"recovery took {delays}, of which others had {others_s}"
    assert pool.rows()[1]["restarts"] == 5
    assert pool.lines("slot.dead", slot=1)[-1]["cause"] == "signal:SIGKILL"


@pytest.mark.parametrize(
    ("deed", "argument", "cause"),
    [
        ("exit", 0, "exit:0"),
        ("exit", 3, "exit:3"),
        ("raise", "x", "exit:1"),
        ("kill", int(signal.SIGSEGV), "signal:SIGSEGV"),
        ("kill", int(signal.SIGABRT), "signal:SIGABRT"),
    ],
)
def test_worker_that_ends_in_mid_item_is_replaced(start: Start, deed: str, argument: object, cause: str) -> None:
    """However a worker ends that was not asked to, with status 0 too: it is replaced and the cause recorded."""
    pool = start()
    pool.tell(2, deed, argument)
    died = pool.wait_for("slot.dead", slot=2)
    assert (died["cause"], died["phase"], died["item"]) == (cause, deed, f"{deed} item")
    pool.wait_for("up", slot=2, found=f"{deed} held")
    assert pool.page()["counters"] == {"restarts\x1fcrashed": 1.0}
    assert pool.lines("up", slot=1)[-1]["found"] == ""


def test_error_that_ends_a_worker_is_logged_without_its_words(start: Start) -> None:
    """The stack says where; what the error says may quote an item and stays out."""
    pool = start()
    pool.tell(1, "raise", "secret")
    failed = pool.wait_for("child.failed")
    assert failed["error"] == "IndexError"
    assert any("dummy.py" in frame for frame in failed["frames"])
    assert "list index" not in str(pool.log)


def test_crash_loop_backs_off_and_leaves_the_others_alone(start: Start) -> None:
    """Each further crash in a row waits longer; the other slot never notices."""
    pool = start()
    other = pool.worker(2)
    for crash in range(4):
        pool.tell(1, "exit", 1)
        pool.wait_for("up", slot=1, count=crash + 2)
    assert [line["delay_s"] for line in pool.lines("slot.backing_off")] == [0.1, 0.2, 0.5]
    assert pool.worker(2) == other
    pool.tell(1, "count", 1)
    pool.wait_for("done", slot=1, deed="count")
    pool.tell(1, "exit", 1)
    pool.wait_for("up", slot=1, count=6)
    assert len(pool.lines("slot.backing_off")) == 3, "work done ends the row of crashes"


def test_all_workers_killed_at_once_come_back(start: Start) -> None:
    """Every slot has a new worker, and no zombie is left."""
    pool = start(workers=6)
    before = [pool.worker(slot) for slot in range(1, 7)]
    for pid in before:
        pool.kill(pid)
    pool.wait_for("slot.up", count=12)
    wait_until(lambda: all(state_of(pid) == "" for pid in before), 3, "the dead to be reaped")


def test_tools_of_a_killed_worker_die_too(start: Start) -> None:
    """Children, and daemons in sessions of their own: gone soon after their worker."""
    pool = start()
    for how in ("plain", "daemon", "bare", "forked"):
        pool.tell(1, "spawn", how)
        tool = pool.spawned()
        assert alive(tool)
        ups = len(pool.lines("up", slot=1))
        pool.kill(pool.worker(1))
        wait_until(lambda: state_of(tool) == "", 1, f"{how} tool to be gone and reaped")  # noqa: B023
        pool.wait_for("up", slot=1, count=ups + 1)
        (pool.folder / "spawned").unlink()


def test_tools_of_living_workers_are_left_alone(start: Start) -> None:
    """One worker's death is no reason to touch what another has started, daemons included."""
    pool = start()
    pool.tell(2, "spawn", "daemon")
    tool = pool.spawned()
    pool.kill(pool.worker(1))
    pool.wait_for("up", slot=1, count=2)
    holds_for(lambda: alive(tool), 0.3)


def test_short_tools_leave_no_zombie(start: Start) -> None:
    """What is orphaned to a worker and ends is gone from the process table once the worker is."""
    pool = start()
    pool.tell(1, "many", 50)
    pool.wait_for("done", slot=1, deed="many")
    worker = pool.worker(1)
    pool.kill(worker)
    pool.wait_for("up", slot=1, count=2)
    wait_until(lambda: not pool.zombies(), 3, "no zombie")


def test_companion_that_dies_is_told_of(start: Start, pool: DummyPool) -> None:
    """What was started beside the pool and ends by itself is named in the log; the pool goes on."""
    (pool.folder / "companion").touch()
    start()
    pool.kill(pool.companion())
    assert pool.wait_for("companion.died")["name"] == "sleeper"
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
