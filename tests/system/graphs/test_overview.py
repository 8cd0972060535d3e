"""What is seen of all runs together."""

from __future__ import annotations

from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.overview import MOST_EVENTS, MOST_RUNS, overview
from executor_worker.broker.names import GRAPH_EVENTS
from tests.kit import RedisServer
from tests.system.graphs.conftest import Kernel, calc

AT_ONCE = {"nodes": {"done": {"type": "end"}}}
TWO_READY = {"nodes": {"a": calc("1"), "b": calc("2")}}


def test_runs_are_counted_by_what_they_do(redis_server: RedisServer, kernel: Kernel) -> None:
    """Active ones, the oldest's age, nodes that no worker has taken, ends of the last minute."""
    assert drive(kernel.link, overview()).as_json() == {
        "active": 0, "ready": 0, "running": 0, "counted": 0, "oldest_seconds": 0.0,
        "last_minute": {"seconds": 60.0, "completed": 0, "failed": 0, "cancelled": 0},
    }  # fmt: skip
    kernel.submit(TWO_READY)
    drive(kernel.link, runs.cancel(kernel.submit(TWO_READY)))
    for _ in range(3):
        kernel.submit(AT_ONCE)
    seen = drive(kernel.link, overview())
    assert (seen.active, seen.ready, seen.running, dict(seen.ended)) == (1, 2, 0, {"completed": 3, "cancelled": 1})
    assert 0 < seen.oldest_s < 60


def test_of_very_many_runs_a_part_is_counted(redis_server: RedisServer, kernel: Kernel) -> None:
    """It says of how many nodes it speaks, and of how many seconds."""
    db = redis_server.client()
    for _ in range(MOST_RUNS + 1):
        kernel.submit(TWO_READY)
    for _ in range(MOST_EVENTS):
        db.xadd(GRAPH_EVENTS, {"data": b'{"type":"graph.failed"}'})
    seen = drive(kernel.link, overview())
    assert (seen.active, seen.counted, seen.ready) == (MOST_RUNS + 1, MOST_RUNS, 2 * MOST_RUNS)
    assert seen.ended["failed"] == MOST_EVENTS and 0 < seen.seconds < 60
