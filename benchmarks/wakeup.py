"""Latency of an idle pool: until it notices an item, and until a no-op item has come out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, cast

import redis

from benchmarks.bare import ANSWERS, ASKED
from benchmarks.figures import Figure, tails
from benchmarks.plan import Plan
from benchmarks.stage import COMPLETED, ROOT, WORK, Stage, item, stage
from tests.kit import RedisServer, wait_until

CLOCK = {"tool_name": "clock", "tool_params": {}}
PAUSE_S = 0.05
WARM_UP = 20


def measure(plan: Plan) -> list[Figure]:
    """Put items one by one; beside it, a bare process that waits in XREAD and answers by XADD."""
    with stage(4) as on:
        for number in range(WARM_UP):
            _put_one(on, f"warm{number}")
        bare = _bare(on.server, plan.wakeups)
        times = [_put_one(on, f"g{number}") for number in range(plan.wakeups)]
    starts, results = [start for start, _ in times], [result for _, result in times]
    middle = sorted(bare)[len(bare) // 2]
    return [
        Figure.of("wake-up: result, of a bare process' answer", [one / middle for one in results], scale="ratio"),
        *tails("wake-up: XADD to node start", starts, "ms", 3.0, 10.0),
        *tails("wake-up: XADD to result event", results, "ms", 6.0, 20.0),
        *tails("wake-up: bare process, XADD to its answer", bare, "ms", None, None),
    ]


def _put_one(on: Stage, graph: str) -> tuple[float, float]:
    """Milliseconds from XADD to the node's start and to its result."""
    wait_until(lambda: all(row["state"] == "idle" for row in on.pool.workers()), 20, "the pool is idle")
    time.sleep(PAUSE_S)
    put_ns = time.monotonic_ns()
    on.db.xadd(WORK, {"data": item(graph, CLOCK)})
    event = json.loads(_next(on.db, COMPLETED)[b"data"])
    came_ns = time.monotonic_ns()
    assert event["graph_id"] == graph, event
    return (event["data"]["output"] - put_ns) / 1e6, (came_ns - put_ns) / 1e6


def _next(db: redis.Redis, stream: str) -> dict[bytes, bytes]:
    """Wait for the one entry of *stream*, and take it out."""
    reply = cast("list[Any]", db.xread({stream: "0"}, count=1, block=10_000))
    db.delete(stream)
    return cast("dict[bytes, bytes]", reply[0][1][0][1])


def _bare(server: RedisServer, count: int) -> list[float]:
    """The same with a process that does nothing else; milliseconds."""
    db = server.client()
    command = [sys.executable, "-m", "benchmarks.bare", "answer", str(server.socket)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        times = []
        for number in range(WARM_UP + count):
            time.sleep(PAUSE_S)
            began = time.monotonic_ns()
            db.xadd(ASKED, {"data": item(str(number))})
            _next(db, ANSWERS)
            times.append((time.monotonic_ns() - began) / 1e6)
        process.kill()
    return times[WARM_UP:]
