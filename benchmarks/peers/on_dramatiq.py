"""
One thread a process, prefetch 1; no results.

- Messages are acknowledged after they ran, as they always are here; what a lost process held is queued again when
  some process's maintenance finds its heartbeat a minute old (heartbeat_timeout, the default; found by chance, 1
  command of 1000).
- dramatiq_queue_prefetch=1: a message fetched ahead would wait behind a long one while other processes are idle.
- When one of its processes is killed the program ends them all, and leaves starting again to a service manager; here
  the benchmark does so at once.
"""

from __future__ import annotations

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import job

broker = RedisBroker(url=job.REDIS)
dramatiq.set_broker(broker)
# The default limit of a message's run is 10 minutes.
ACTORS = {name: dramatiq.actor(function, actor_name=name, time_limit=3_600_000) for name, function in job.JOBS.items()}


def work(workers: int) -> None:
    """One process a worker, one thread in each."""
    os.environ["dramatiq_queue_prefetch"] = "1"  # noqa: SIM112 its name
    command = ["-m", "dramatiq", "benchmarks.peers.on_dramatiq", "--processes", str(workers), "--threads", "1"]
    os.execv(sys.executable, [sys.executable, *command])


def put(kind: str, jobs: list[job.Job]) -> None:
    """One message each; its API has no bulk."""
    for number, argument in jobs:
        ACTORS[kind].send(number, argument)


if __name__ == "__main__":
    job.adapt(work, put)
