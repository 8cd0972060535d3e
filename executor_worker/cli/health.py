"""
`health`: whether the pool that runs here is well.

It reads the pool's own table and needs no settings: so it answers whatever HEALTH_PORT and HEALTH_HOST are, in a
fraction of a second, also while Redis or the network are away.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from executor_worker.cli.exits import DONE, FAILED
from executor_worker.cli.status.here import boards_of, wanted_pool
from executor_worker.keeper.pool_health import MAIN_LOOP_SILENCE_S, PoolHealth
from supervisor.scoreboard.scoreboard import Scoreboard

KEEPER_SILENCE_S = 30.0  # the supervisor replaces it long before; until then its last word on Redis stands


def health(args: argparse.Namespace) -> int:
    """Print a JSON line for each pool that is meant; fail if one is unhealthy, or there is none."""
    with boards_of(wanted_pool(args.pool)) as boards:
        reports = [describe(pid, board) for pid, board in sorted(boards.items())]
    for report in reports:
        print(json.dumps(report))
    return FAILED if any(report["status"] == "unhealthy" for report in reports) else DONE


def describe(pid: int, board: Scoreboard, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """Describe one pool; what its table says holds only while both processes that write it go on writing."""
    pool_health = PoolHealth(board, clock=clock)
    problems = [
        f"the {name} has been silent for {silent:.0f} s"
        for name, silent, limit in (
            ("main loop", pool_health.silence_s(), MAIN_LOOP_SILENCE_S),
            ("keeper", pool_health.keeper_silence_s(), KEEPER_SILENCE_S),
        )
        if silent > limit
    ]
    facts = pool_health.facts()
    status = "unhealthy" if problems else facts["status"]
    problems += facts["problems"]
    return (
        {"status": status, "worker_id": board.head.name, "pid": pid} | facts | {"status": status, "problems": problems}
    )
