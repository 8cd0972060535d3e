"""
The yardstick: what a queue costs that does nothing but speak to Redis, by redis-py.

Three round trips an item: XREADGROUP; GET of its state; MULTI SET, XADD, XACK. Nothing is parsed, nothing logged.
`python -m benchmarks.bare URL [N]` prints the CPU seconds of N items (1 KiB each, 2 KiB of state).
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import redis

ITEM, STATE = b"i" * 1024, b"s" * 2048
WORK, GROUP, RESULTS, STATE_KEY = "bare:work", "bare", "bare:results", "bare:state:%d"
STATES = 100
PAGE = 1000


def bare_cpu_seconds(url: str, items: int = 5000) -> float:
    """Run *items* through the bare loop in a process of its own; its CPU seconds from the first to the last."""
    command = [sys.executable, "-m", "benchmarks.bare", url, str(items)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def fill(client: Any, items: int) -> None:
    """Put *items* on the stream, and the states that they read."""
    client.xgroup_create(WORK, GROUP, "0", mkstream=True)
    for start in range(0, items, PAGE):
        pipeline = client.pipeline(transaction=False)
        for _ in range(start, min(start + PAGE, items)):
            pipeline.xadd(WORK, {"data": ITEM})
        pipeline.execute()
    client.mset({STATE_KEY % number: STATE for number in range(STATES)})


def run(client: Any, items: int) -> None:
    """Read, look up, settle: one item at a time."""
    for number in range(items):
        [[_, [[entry, _]]]] = client.xreadgroup(GROUP, "one", {WORK: ">"}, count=1, block=1000)
        state = client.get(STATE_KEY % (number % STATES))
        settle = client.pipeline(transaction=True)
        settle.set(STATE_KEY % (number % STATES), state, ex=86400)
        settle.xadd(RESULTS, {"data": ITEM}, maxlen=100_000)
        settle.xack(WORK, GROUP, entry)
        settle.execute()


def main() -> None:
    """Fill, run, print, clean up."""
    url, items = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    client = redis.Redis.from_url(url, socket_timeout=10)
    keys = [WORK, RESULTS, *(STATE_KEY % number for number in range(STATES))]
    client.delete(*keys)
    fill(client, items)
    started = time.process_time()
    run(client, items)
    sys.stdout.write(f"{time.process_time() - started:.3f}\n")
    client.delete(*keys)
    client.close()


if __name__ == "__main__":
    main()
