"""
Process workers; results not kept.

- Nothing to set: its documentation says that it does not guarantee at-least-once delivery and that a task whose
  worker is killed is lost. Retries are for tasks that raise.
"""

from __future__ import annotations

import os
import sys

from huey import RedisHuey

from benchmarks.peers import job

huey = RedisHuey("peers", url=job.REDIS, results=False)
TASKS = {name: huey.task(name=name)(function) for name, function in job.JOBS.items()}


def work(workers: int) -> None:
    """Its consumer with one process a worker."""
    consumer = f"{sys.prefix}/bin/huey_consumer"
    arguments = ["benchmarks.peers.on_huey.huey", "--workers", str(workers), "--worker-type", "process"]
    os.execv(sys.executable, [sys.executable, consumer, *arguments])


def put(kind: str, jobs: list[job.Job]) -> None:
    """One message each."""
    for arguments in jobs:
        TASKS[kind](*arguments)


if __name__ == "__main__":
    job.adapt(work, put)
