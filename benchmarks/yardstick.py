"""Speed of this machine now: the bare loop's CPU seconds for 1000 items."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.bare import DOCUMENT, EVENTS, GROUP, STATES, STREAM
from benchmarks.stage import ITEM_BYTES, PUT_AT_ONCE, ROOT
from tests.kit import RedisServer

PROCESSES = 4


def cpu_per_1000(server: RedisServer, count: int) -> float:
    """Lay *count* items ready and let four loops work them off; CPU seconds for 1000."""
    db = server.client()
    db.delete(STREAM, EVENTS)
    db.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    pipe = db.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(STREAM, {"data": b"x" * ITEM_BYTES, "graph": number})
        pipe.set(f"{STATES}{number}", DOCUMENT, ex=3600)
        if number % PUT_AT_ONCE == PUT_AT_ONCE - 1:
            pipe.execute()
    pipe.execute()
    command = [sys.executable, "-m", "benchmarks.bare", "loop", str(server.socket)]
    loops = [
        subprocess.Popen([*command, str(name)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name in range(PROCESSES)
    ]
    spent = sum(float(one.communicate()[0]) for one in loops)
    db.delete(STREAM, EVENTS, *(f"{STATES}{number}" for number in range(count)))
    return 1000 * spent / count
