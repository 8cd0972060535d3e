"""
RedisStreamBroker, ack when executed, reads one message at a time (100 take half the CPU); no result backend.

- The stream broker is the one of its three that acknowledges; `when_executed`, so that a killed process's task stays
  pending.
- xread_count=1 instead of 100: all that a process has read is lost to the others for idle_timeout when it dies, and
  in a queue of long tasks waits behind the first. It doubles the CPU of a no-op.
- unacknowledged_lock_timeout: without it the lock of a process killed while it reclaims is held for ever.
- idle_timeout stays at its 10 minutes: nothing renews it while a task runs, so it has to exceed the longest one.
"""

from __future__ import annotations

import asyncio
import os
import sys

from taskiq_redis import RedisStreamBroker

from benchmarks.peers import job

broker = RedisStreamBroker(job.REDIS, consumer_id="0", xread_count=1, unacknowledged_lock_timeout=60)
TASKS = {name: broker.register_task(function, task_name=name) for name, function in job.JOBS.items()}


def work(workers: int) -> None:
    """One process a worker, one task at a time in each."""
    command = ["-m", "taskiq", "worker", "benchmarks.peers.on_taskiq:broker", "--workers", str(workers)]
    command += ["--max-async-tasks", "1", "--max-threadpool-threads", "1", "--ack-type", "when_executed"]
    os.execv(sys.executable, [sys.executable, *command])


def put(kind: str, jobs: list[job.Job]) -> None:
    """One message each; its API has no bulk."""
    asyncio.run(put_all(kind, jobs))


async def put_all(kind: str, jobs: list[job.Job]) -> None:
    """Send them one after the other."""
    await broker.startup()
    for number, argument in jobs:
        await TASKS[kind].kiq(number, argument)
    await broker.shutdown()


if __name__ == "__main__":
    job.adapt(work, put)
