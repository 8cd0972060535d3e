"""A pool that grows by itself to what there is to do."""

from __future__ import annotations

import signal
import time

from tests.faults.stage import Stage
from tests.kit import holds_for, wait_until


def test_it_grows_within_two_seconds_and_only_to_what_there_is(stage: Stage) -> None:
    """By what waits and is in hand; up to the upper bound; health, status and the log say so."""
    pool = stage.pool(WORKERS="1-4")
    assert pool.health()["workers"]["configured"] == 1
    for number in range(3):
        stage.push("hold", f"g{number}")
    began = time.monotonic()
    wait_until(lambda: len(stage.journal.starts()) == 3, 20, "all run")
    assert pool.wait_event("pool.scaled", workers=3)["reason"] == "work"
    # Noticed twice a second; what else it takes is the forks, on a machine that may have others to run.
    assert time.monotonic() - began < 2 + 3 * pool.wait_event("slot.up", slot=3)["boot_s"] + 1
    assert pool.get("/status").json()["slots"] == {"now": 3, "least": 1, "most": 4, "reason": "work"}
    for number in range(3, 9):
        stage.push("hold", f"g{number}")
    pool.wait_event("pool.scaled", workers=4, reason="the upper bound")
    holds_for(lambda: pool.health()["workers"]["configured"] == 4, 1.5)
    for number in range(9):
        stage.journal.let_go(f"g{number}")
    stage.assert_settled_once([f"g{number}" for number in range(9)])
    assert pool.health()["status"] == "healthy" and not pool.seen("slot.dead")


def test_its_bounds_are_moved(stage: Stage) -> None:
    """TTIN and TTOU by one, a reload to what the settings say; the number follows at once."""
    pool = stage.pool(WORKERS="2-3")
    for number, now, bounds in ((signal.SIGTTIN, 3, (3, 3)), (signal.SIGTTIN, 4, (4, 4)), (signal.SIGTTOU, 3, (3, 3))):
        pool.send(number)
        wait_until(lambda now=now: pool.health()["workers"]["configured"] == now, 10)  # type: ignore[misc]
        slots = pool.get("/status").json()["slots"]
        assert (slots["least"], slots["most"]) == bounds
    pool.send(signal.SIGHUP)
    pool.wait_event("pool.reloaded", 30)
    slots = pool.get("/status").json()["slots"]
    assert (slots["now"], slots["least"], slots["most"]) == (3, 2, 3)


def test_a_paused_pool_does_not_grow(stage: Stage) -> None:
    """What waits then does so because it was told to."""
    pool = stage.pool(WORKERS="1-4")
    pool.send(signal.SIGTSTP)
    pool.wait_event("pool.paused")
    for number in range(3):
        stage.push("nap", f"g{number}")
    holds_for(lambda: pool.health()["workers"]["configured"] == 1, 1.5)
    pool.send(signal.SIGCONT)
    stage.assert_settled_once([f"g{number}" for number in range(3)])
