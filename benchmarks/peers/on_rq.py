"""
Retry(max=10), imports before the fork; results not kept.

- Retry: without it a job whose process is killed is moved to the failed ones. 10, so that no storm uses it up.
- A script of its own that imports the jobs' module before the workers fork: its documentation's advice, as each job
  is a process of its own, which would import it again.
- A lost worker's job is found by the maintenance of others, every 10 minutes; `worker-pool` offers no setting for
  that.
"""

from __future__ import annotations

import redis
from rq import Queue, Retry
from rq.worker_pool import WorkerPool

from benchmarks.peers import job

connection = redis.Redis.from_url(job.REDIS)
queue = Queue("peers", connection=connection)


def work(workers: int) -> None:
    """Its worker pool."""
    WorkerPool([queue], connection=connection, num_workers=workers).start()


def put(kind: str, jobs: list[job.Job]) -> None:
    """All in one pipeline."""
    function = f"benchmarks.peers.job.{kind}"
    settings = {"timeout": 3600, "result_ttl": 0, "retry": Retry(max=10)}
    queue.enqueue_many([Queue.prepare_data(function, args=arguments, **settings) for arguments in jobs])


if __name__ == "__main__":
    job.adapt(work, put)
