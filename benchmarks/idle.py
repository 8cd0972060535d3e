"""Cost of an idle pool: what it asks of Redis and of the processor."""

from __future__ import annotations

import time

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.stage import Stage, cpu_s, stage

SETTLE_S = 3.0  # until what a start brings with it is over
CPU_WINDOW_S = 20.0


def measure(plan: Plan) -> list[Figure]:
    with stage(plan.workers) as on:
        time.sleep(SETTLE_S)
        commands, inside, cpu = run_context(on, plan.quiet_s)
    return [
        Figure.of("idle: commands a second, a worker", [commands / plan.workers], at_most=0.4),
        Figure.of("idle: with those inside scripts", [inside / plan.workers]),
        Figure.of("idle: CPU of all in 20 s", [cpu * CPU_WINDOW_S / plan.quiet_s], "s", at_most=0.2, scale="speed"),
    ]


def run_context(on: Stage, seconds: float, pids: list[int] | None = None) -> tuple[float, float, float]:
    """Leave the pool alone; commands a second that it sends, with those that scripts run, CPU seconds of *pids*."""
    pids = pids or on.tree()
    sent, run = _commands(on)
    before, began = cpu_s(pids), time.monotonic()
    time.sleep(seconds)
    spent, took = cpu_s(pids) - before, time.monotonic() - began
    sent_then, run_then = _commands(on)
    return (sent_then - sent - 1) / took, (run_then - run - 1) / took, spent


def _commands(on: Stage) -> tuple[int, int]:
    """Commands that clients have sent (a blocked one counts when it is let go), and those that scripts ran too."""
    stats = on.db.info("everything")
    run = sum(int(about["calls"]) for name, about in stats.items() if name.startswith("cmdstat_"))
    return int(stats["total_commands_processed"]), run
