"""Time to recover: how soon an item runs again whose worker, or whose whole pool, was killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.stage import Stage, item, put, stage, started
from tests.kit import kill_all, wait_until

SLOTS = 8
LEASE_S = 5.0
STAY_S = 600.0


def measure(plan: Plan) -> list[Figure]:
    waits: list[float] = []
    while len(waits) < plan.kills:
        with stage(SLOTS, TOOL_TIMEOUT="600") as on:
            waits += [_kill_worker(on, f"item{number}") for number in range(SLOTS)]
    trees = [_kill_tree() for _ in range(plan.trees)]
    return [
        Figure.of("recovery: worker killed to item running again", waits, "ms", at_most=50.0, scale="speed"),
        Figure.of(f"recovery: tree killed, LEASE={LEASE_S:g}s", trees, "s", at_most=LEASE_S + 2),
    ]


def _stay(mark: str) -> bytes:
    return item(mark, {"tool_name": "stay", "tool_params": {"mark": mark, "seconds": STAY_S}})


def _runs(folder: Path, mark: str) -> list[tuple[int, int]]:
    """When the item was begun so far (monotonic, ns), and in which process."""
    lines = (folder / mark).read_text().splitlines() if (folder / mark).exists() else []
    return [(int(at), int(pid)) for at, pid in map(str.split, lines)]


def _kill_worker(on: Stage, mark: str) -> float:
    """Kill the worker of a new item: its slot's first death; milliseconds."""
    folder = on.folder / "pool"
    put(on.db, [_stay(mark)])
    _, victim = wait_until(lambda: _runs(folder, mark), 20, "it runs")[0]
    killed_ns = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    again_ns, _ = wait_until(lambda: _runs(folder, mark)[1:], 20, "it runs again")[0]
    return (again_ns - killed_ns) / 1e6


def _kill_tree() -> float:
    """Kill a whole pool while another one stands by; seconds until that runs the item."""
    lease = f"{LEASE_S:g}s"
    with stage(1, LEASE=lease, TOOL_TIMEOUT="600") as on:
        put(on.db, [_stay("it")])
        wait_until(lambda: _runs(on.folder / "pool", "it"), 20, "it runs")
        with started(on.folder / "other", on.server, 1, LEASE=lease):
            time.sleep(LEASE_S / 2)  # so that its lease has been renewed once
            killed_ns = time.monotonic_ns()
            kill_all(on.tree())
            again_ns, _ = wait_until(lambda: _runs(on.folder / "other", "it"), 60, "it runs again")[0]
    return (again_ns - killed_ns) / 1e9
