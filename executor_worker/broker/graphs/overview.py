"""Overview of all runs: how many go on, since when, how many nodes are ready, how many runs ended lately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import GRAPH_EVENTS, listing_key, run_key
from executor_worker.json_text import loads

MOST_RUNS = 200  # whose nodes are counted; of more, those of the oldest
MOST_EVENTS = 500  # that are looked through for ends
LATELY_MS = 60_000
ENDS = {f"graph.{status}": status for status in ("completed", "failed", "cancelled")}


@dataclass(frozen=True, slots=True)
class RunsOverview:
    """
    Attributes:
        active: Runs that have not ended.
        oldest_s: Since the oldest of them was submitted; 0: there is none.
        ready: Nodes that wait for a worker or their next attempt, of the `counted` oldest active runs.
        running: Nodes that workers run, of the same.
        ended: By how they ended: runs in the last `seconds`.
        seconds: A minute, or less where more happened than is looked through.
    """

    active: int
    oldest_s: float
    ready: int
    running: int
    counted: int
    ended: Mapping[str, int]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        ended = {status: self.ended.get(status, 0) for status in ENDS.values()}
        figures = {name: getattr(self, name) for name in ("active", "ready", "running", "counted")}
        return {
            **figures,
            "oldest_seconds": round(self.oldest_s, 3),
            "last_minute": {"seconds": round(self.seconds, 1), **ended},
        }


def overview() -> Steps[RunsOverview]:
    """Look at all runs; of thousands, some figures are those of a part."""
    oldest, active, clock, events = checked(
        (
            yield [
                (b"ZRANGE", listing_key("running"), 0, MOST_RUNS - 1, b"WITHSCORES"),
                (b"ZCARD", listing_key("running")),
                (b"TIME",),
                (b"XREVRANGE", GRAPH_EVENTS, b"+", b"-", b"COUNT", MOST_EVENTS),
            ]
        )
    )
    now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
    ids = [name.decode() for name in oldest[::2]]
    counts = checked((yield [(b"HMGET", run_key(name), b"slots", b"running") for name in ids])) if ids else []
    taken = sum(int(slots or 0) for slots, _ in counts)
    running = sum(int(count or 0) for _, count in counts)
    oldest_s = max(now_ms - float(oldest[1]), 0.0) / 1000 if oldest else 0.0
    ended, seconds = ended_lately(events, now_ms)
    return RunsOverview(active, oldest_s, max(taken - running, 0), running, len(ids), ended, seconds)


def ended_lately(events: Sequence[Any], now_ms: int) -> tuple[Counter[str], float]:
    """Count runs that ended in the last minute, and of how many seconds *events* (newest first) tell."""
    ended: Counter[str] = Counter()
    for entry, fields in events:
        if int(entry.split(b"-")[0]) < now_ms - LATELY_MS:
            return ended, LATELY_MS / 1000
        if status := ENDS.get(loads(fields[1]).get("type", "")):
            ended[status] += 1
    if len(events) < MOST_EVENTS:
        return ended, LATELY_MS / 1000
    return ended, max(now_ms - int(events[-1][0].split(b"-")[0]), 1) / 1000
