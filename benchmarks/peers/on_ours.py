"""
As it comes: validation, state, results, events, metrics, logs.

- Each item is a tool node with 1 KiB of parameters in a graph with 2 KiB of state, which is read, changed and written
  back; the others keep no state and no results.
"""

from __future__ import annotations

import json
import os
import sys
from urllib.parse import urlsplit

import redis

from benchmarks.peers import job
from executor_worker.tools import tool

TOOLS = {name: tool(effects="none")(function) for name, function in job.JOBS.items()}
noop, nap = TOOLS["noop"], TOOLS["nap"]
PARAMETERS = {"noop": "payload", "nap": "seconds"}
STATE = json.dumps({"status": "running", "inputs": {"text": "s" * 2048}, "node_states": {}})


def work(workers: int) -> None:
    """Its pool, all settings but names and addresses at their defaults."""
    os.environ.update(REDIS_ADDR=job.REDIS, LLM_PROVIDER="scripted", TOOL_MODULES="benchmarks.peers.on_ours")
    # Several pools run here at once, each on a Redis of its own.
    os.environ.update(HEALTH_HOST="127.0.0.1", HEALTH_PORT="0", WORKER_ID=f"peers-{urlsplit(job.REDIS).port}")
    os.execv(sys.executable, [sys.executable, "-m", "executor_worker", "run", "--workers", str(workers)])


def put(kind: str, jobs: list[job.Job]) -> None:
    """All in one pipeline, each with a graph and a state of its own."""
    with redis.Redis.from_url(job.REDIS) as client:
        pipeline = client.pipeline(transaction=False)
        for number, argument in jobs:
            config = {"tool_name": kind, "tool_params": {"number": number, PARAMETERS[kind]: argument}}
            pipeline.set(f"dago:state:{number}", STATE)
            pipeline.xadd(
                "executor.work", {"data": json.dumps({"graph_id": str(number), "node_id": "n", "config": config})}
            )
        pipeline.execute()


if __name__ == "__main__":
    job.adapt(work, put)
