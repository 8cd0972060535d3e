"""
One task at a time, each process a program of its own; results not kept.

- Tasks are acknowledged after they ran and reclaimed when idle for idle_timeout (60 s, the default, renewed while a
  process lives): nothing more to set. max_tries counts deliveries: 10, so that no storm uses it up.
- `streaq run --workers N` does not replace a process that was killed: N programs, which the benchmark starts again at
  once, as a service manager would.
"""

from __future__ import annotations

import asyncio
import os
import sys

from streaq import Worker

from benchmarks.peers import job

PROGRAM_A_WORKER = True
worker: Worker[None] = Worker(redis_url=job.REDIS, concurrency=1)
TASKS = {name: worker.task(name=name, max_tries=10, ttl=0)(function) for name, function in job.JOBS.items()}


def work(workers: int) -> None:
    """Its worker program."""
    command = ["-m", "streaq", "run", "benchmarks.peers.on_streaq:worker", "--workers", str(workers)]
    os.execv(sys.executable, [sys.executable, *command])


def put(kind: str, jobs: list[job.Job]) -> None:
    """All in one pipeline."""
    asyncio.run(put_all(kind, jobs))


async def put_all(kind: str, jobs: list[job.Job]) -> None:
    """Connect, and send them."""
    async with worker:
        await worker.enqueue_many([TASKS[kind].enqueue(number, argument) for number, argument in jobs])


if __name__ == "__main__":
    job.adapt(work, put)
