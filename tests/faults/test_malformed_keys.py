"""Another program writes what we can't read into keys of ours: of the right type, with something else in it."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.broker import names
from tests.faults.stage import COMPLETED, WORK, Stage
from tests.kit import wait_until

ODD = ("", "x", "x y", "executor.work 1-1", "\t\t\t\t", "a\tb\tretry\tc\td", "\x00\xff", "9" * 400)
SCORES = (1.5, -1.5, 0.1, 1e300, float("-inf"), float("inf"))
SETS = (
    names.timers_key(),
    names.looks_key(),
    names.expiries_key(),
    names.listing_key("running"),
    f"{names.DUE}:waiting",
)
HASHES = (
    names.PARKED, names.PARKED_COUNTS, names.LIMITS, names.TURNS, names.PLACES, names.MARKERS, names.RESETS,
    names.LAST_READ, f"{WORK}:forgiven",
)  # fmt: skip
GATES = ("throttle", "breaker", "limit", "offer", "version", "time", "nothing")


def spoil(stage: Stage, kind: str) -> None:
    """Write it."""
    db: Any = stage.db
    match kind:
        case "scores":
            for key in SETS:
                db.zadd(key, {f"{member}{at}": score for at, score in enumerate(SCORES) for member in ODD})
        case "hashes":
            for key in HASHES:
                db.hset(key, mapping={name or "-": value for name in ODD for value in ODD})
        case "gates":
            for gate in GATES:
                for name in ODD:
                    db.sadd(names.AWAITED, f"dago:{gate}:{name}")
                    db.zadd(f"dago:{gate}:{name}:waiting", {"executor.work 1-1": 1.5, "x": 0.5, "": -1.5})
        case "steps":
            for data in (
                "{",
                "",
                "{}",
                '{"graph_id":"x","step":"step","v":1}',
                '{"graph_id":"x","step":"odd","v":999}',
            ):
                db.xadd(names.steps_stream(), {"data": data})
            db.xadd(names.steps_stream(), {"nothing": "x"})
        case "counts":  # of an entry that a worker of another host has left behind
            db.xgroup_create(WORK, names.GROUP, "0", mkstream=True)
            entry = stage.push("nap", "left", seconds=0.01)
            db.xreadgroup(names.GROUP, "gone.1", {WORK: ">"})
            db.hset(f"{WORK}:forgiven", mapping={entry: "x", f"{entry} refused": "y"})
        case "fleet":
            for prefix in (names.REGISTRY_PREFIX, names.OFFERS_PREFIX, names.IDENTITY_PREFIX, names.SWEEPER_PREFIX):
                for name in ODD[1:3]:
                    db.hset(f"{prefix}{name}", "x", "y") if prefix == names.OFFERS_PREFIX else db.set(
                        f"{prefix}{name}", "{"
                    )
            db.sadd(names.POOLS, *ODD), db.sadd(names.QUEUES, *ODD)


@pytest.mark.parametrize("kind", ["scores", "hashes", "gates", "steps", "fleet", "counts"])
def test_nobody_dies_of_what_others_have_written(stage: Stage, kind: str) -> None:
    """Work goes on; no worker and no keeper ends by it."""
    left = kind == "counts"
    if left:
        spoil(stage, kind)
    pool = stage.pool(workers=1, LEASE="1")
    if not left:
        spoil(stage, kind)
    for name in ("first", "second"):
        stage.push("nap", name, seconds=0.01)
    wait_until(lambda: stage.db.xlen(COMPLETED) == 2 + left, 25, lambda: pool.said(15))
    wait_until(lambda: pool.health()["status"] != "starting", 10)
    assert not pool.seen("intake.broke"), "it would be taken again at once, and again"
    assert not pool.seen("slot.dead") and not pool.seen("keeper.dead") and not pool.seen("duty.failed"), pool.said()
