"""A pool that grows by itself to what there is to do."""

from __future__ import annotations

import signal
from typing import Any

from tests.faults.stage import Stage
from tests.kit import Pool, Stopwatch, holds_for, wait_until


def slots(pool: Pool) -> dict[str, Any]:
    """How many workers the pool has and may have, as its status tells."""
    return dict(pool.get("/status").json()["slots"])


def bounds_of(pool: Pool) -> tuple[int, int]:
    return slots(pool)["least"], slots(pool)["most"]


def test_it_grows_within_two_seconds_and_only_to_what_there_is(stage: Stage) -> None:
    """By what waits and is in hand; up to the upper bound; health, status and the log say so."""
    pool = stage.pool(WORKERS="1-4")
    assert pool.health()["workers"]["configured"] == 1
    for number in range(3):
        stage.push("hold", f"g{number}")
    began = Stopwatch()
    wait_until(lambda: len(stage.journal.starts()) == 3, 20, "all run")
    assert pool.wait_event("pool.scaled", workers=3)["reason"] == "work"
    # Noticed twice a second; what else it takes is the forks.
    boots_s = 3 * pool.wait_event("slot.up", slot=3)["boot_s"]
    assert began.own_s() < 2 + boots_s + 1
    wait_until(lambda: slots(pool) == {"now": 3, "least": 1, "most": 4, "reason": "work"}, 5, lambda: str(slots(pool)))
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
        wait_until(lambda b=bounds: bounds_of(pool) == b, 5, lambda: str(slots(pool)))  # type: ignore[misc]
    pool.send(signal.SIGHUP)
    pool.wait_event("pool.reloaded", 30)
    wait_until(lambda: (slots(pool)["now"], *bounds_of(pool)) == (3, 2, 3), 5, lambda: str(slots(pool)))


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
