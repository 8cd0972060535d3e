"""
Bare loops of redis-py alone: programs that check nothing, decode nothing and promise nothing.

`python -m benchmarks.bare loop SOCKET NAME` is the yardstick: a worker without anything around it, in three round trips
an item. It reads an entry, gets its graph's state, then commits state, event and acknowledgement in one transaction;
when the stream is worked off it prints its CPU seconds. `… answer SOCKET` waits in XREAD and answers each entry.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import redis

STREAM, GROUP, EVENTS, STATES = "bare.work", "bare", "bare.completed", "bare.state:"
ASKED, ANSWERS = "bare.asked", "bare.answers"
DOCUMENT, EVENT = b"x" * 2048, b"x" * 500


def loop(db: redis.Redis, name: str) -> float:
    """Work the stream off; returns the CPU seconds of that."""
    began = time.process_time()
    while reply := db.xreadgroup(GROUP, name, {STREAM: ">"}, count=1):
        entry, fields = cast("list[Any]", reply)[0][1][0]
        key = STATES.encode() + fields[b"graph"]
        db.get(key)
        commit = db.pipeline(transaction=True)
        commit.set(key, DOCUMENT, ex=3600)
        commit.xadd(EVENTS, {"data": EVENT})
        commit.xack(STREAM, GROUP, entry)
        commit.execute()
    return time.process_time() - began


def answer(db: redis.Redis) -> None:
    """Answer until killed."""
    last = "0"
    while True:
        reply = cast("list[Any]", db.xread({ASKED: last}, count=1, block=0))
        last = reply[0][1][0][0]
        db.xadd(ANSWERS, {"data": "x"})


if __name__ == "__main__":
    connection = redis.Redis(unix_socket_path=sys.argv[2], socket_timeout=None)
    connection.ping()
    if sys.argv[1] == "answer":
        answer(connection)
    sys.stdout.write(str(loop(connection, sys.argv[3])))
