"""
Measure a pool of four on this machine, and print a table.

- throughput: small tool items, settled in one step each
- cost: CPU seconds of the workers for 1000 of them
- recovery: from a worker's SIGKILL until its item runs again
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import redis

from tests.kit import Pool, RedisServer, wait_until
from tests.kit.processes import read_proc

WORK, COMPLETED = "executor.work", "dago:events:node.completed"
WORKERS = 4
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
NO_OP = {"tool_name": "calculate", "tool_params": {"expression": "6*7"}}
SLOW = {"llm_config": {"prompt": json.dumps({"script": [{"reply": "done", "delay_s": 60, "repeat": True}]})}}


def put(client: redis.Redis, count: int, config: Mapping[str, object], prefix: str) -> None:
    """Put *count* items on the work stream, each of a graph of its own."""
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        item = {"graph_id": f"{prefix}{number}", "node_id": "n", "config": config, "inputs": {}}
        pipeline.xadd(WORK, {"data": json.dumps(item)})
    pipeline.execute()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = read_proc(pid, "stat").rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def throughput(pool: Pool, client: redis.Redis, count: int) -> dict[str, float]:
    """Run *count* items; items per second, CPU seconds of the workers for 1000."""
    pids = [int(row["pid"]) for row in pool.workers()]
    before = client.xlen(COMPLETED)
    pool.send(signal.SIGTSTP)
    put(client, count, NO_OP, f"{time.monotonic_ns()}-")
    cpu = sum(map(cpu_seconds, pids))
    started = time.monotonic()
    pool.send(signal.SIGCONT)
    wait_until(lambda: client.xlen(COMPLETED) >= before + count, 300, "all items are settled", every=0.005)
    took = time.monotonic() - started
    cost = sum(map(cpu_seconds, pids)) - cpu
    return {"items/s": count / took, "CPU s for 1000": 1000 * cost / count}


def running(pool: Pool) -> dict[str, int]:
    """Which process each long item runs in now."""
    rows = [row for row in pool.workers() if row["state"] == "busy" and row["phase"] == "llm" and row["pid"]]
    return {row["item"]: row["pid"] for row in rows}


def recovery_ms(pool: Pool, client: redis.Redis) -> list[float]:
    """
    Kill the worker of each of some long items; milliseconds until that item runs again.

    Each slot once: one whose workers keep dying is made to wait, which is another matter.
    """
    put(client, WORKERS, SLOW, f"{time.monotonic_ns()}-")
    victims = wait_until(lambda: found if len(found := running(pool)) == WORKERS else {}, 20, "the long items run")
    waits = []
    for item, victim in victims.items():
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await_other(pool, item, victim)
        waits.append(1000 * (time.monotonic() - killed))
    return waits


def await_other(pool: Pool, item: str, victim: int) -> None:
    """Wait until *item* runs in another process than *victim*."""
    wait_until(lambda: running(pool).get(item, victim) != victim, 20, "it runs again", every=0.001)


def main() -> int:
    """Start everything, measure, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--items", type=int, default=5000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="ex-") as folder:
        place = Path(folder)
        for name in ("redis", "pool"):
            (place / name).mkdir()
        with closing(RedisServer(place / "redis")) as server:
            env = {
                "REDIS_ADDR": server.unix_url,
                "WORKERS": str(WORKERS),
                "WORKER_ID": "bench",
                "MAX_DELIVERIES": "1000",
            }
            with closing(Pool(place / "pool", ("run",), env)) as pool, closing(server.client()) as client:
                pool.wait_ready()
                throughput(pool, client, 200)
                found = throughput(pool, client, given.items)
                waits = recovery_ms(pool, client)
    rows = {
        **found,
        "killed to running again, median ms": statistics.median(waits),
        "killed to running again, slowest ms": max(waits),
    }
    for name, value in rows.items():
        sys.stdout.write(f"{name:<36}{value:10.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
