"""
Put a job of each role on its queue, as the sibling system's producers do, and print what its hub would deliver.

Usage: python examples/nodpt_producer.py [redis://localhost:6379] [--timeout SECONDS]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from typing import Any

import redis

JOBS = {
    "manager": {"task": "Plan the release of version 2 in three steps.", "workflowId": "wf-1"},
    "inspector": {
        "task": "Is this right?",
        "payload": json.dumps({"code": "def add(a, b): return a - b"}),
        "userId": "uid-1",
    },
    "agent": {"task": "Say hello.", "connectionId": "conn-1", "projectId": "12", "nodeId": "node-7"},
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("address", nargs="?", default="redis://localhost:6379")
    parser.add_argument("--timeout", type=float, default=60.0)
    args = parser.parse_args()
    db: Any = redis.Redis.from_url(args.address, decode_responses=True)
    last = db.xrevrange("signalr:updates", count=1)
    position = last[0][0] if last else "0-0"
    waiting = {}
    for role, fields in JOBS.items():
        job_id = str(uuid.uuid4())
        db.xadd(f"jobs:{role}", {"jobId": job_id, **fields})
        waiting[job_id] = role
    deadline = time.monotonic() + args.timeout
    while waiting and time.monotonic() < deadline:
        for _, entries in db.xread({"signalr:updates": position}, block=1000):
            for entry, update in entries:
                position = entry
                answered = waiting.pop(update["MessageId"], None)
                if answered:
                    print(f"{answered} ({update['Type']}): {update['Payload']}")
    for job_id, role in waiting.items():
        print(f"{role}: no update of {job_id} yet; is a pool with ROLES={role} running?", file=sys.stderr)
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
