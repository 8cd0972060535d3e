"""
acks_late, reject_on_worker_lost, prefetch multiplier 1; no result backend.

- task_acks_late with task_reject_on_worker_lost: its user guide's way to have a task run again when its process is
  lost.
- worker_prefetch_multiplier=1: the guide's advice for long tasks, so that none waits behind a busy process.
- visibility_timeout stays at its hour: nothing renews it while a task runs, and the guide says to keep it above the
  longest task, which would otherwise run twice at once. It is what a killed tree waits for.
"""

from __future__ import annotations

import os
import sys

from celery import Celery

from benchmarks.peers import job

app = Celery("peers", broker=job.REDIS)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(name=name)(function) for name, function in job.JOBS.items()}


def work(workers: int) -> None:
    """Its prefork pool, which is the default."""
    command = ["-m", "celery", "-A", "benchmarks.peers.on_celery", "worker", "--concurrency", str(workers)]
    os.execv(sys.executable, [sys.executable, *command])


def put(kind: str, jobs: list[job.Job]) -> None:
    """One message each; its API has no bulk."""
    for arguments in jobs:
        TASKS[kind].apply_async(arguments)


if __name__ == "__main__":
    job.adapt(work, put)
