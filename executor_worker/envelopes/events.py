"""Events that go out on result and progress streams, and a node's entry in its graph's state; no Redis here."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from executor_worker.errors import NOT_RETRIABLE
from executor_worker.json_text import dumps
from executor_worker.outcome import Completed, Outcome

COMPLETED, FAILED = "node.completed", "node.failed"
LAST_SECOND = 253_402_300_799  # of the year 9999; the ids of entries, which others may choose, can lie far behind it

# One of our own, since a tool may seed the common one. Nothing rests on ids being secret: the kernel is asked but once.
_ids = random.Random()
if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_ids.seed)


def completed_event(
    graph_id: str, execution_id: str, node_id: str, output: Any, facts: dict[str, Any], now: float
) -> bytes:
    """
    Write a `node.completed` event.

    Args:
        facts: More of `data`: worker_id, mode, attempt, duration_ms, usage.
        now: Seconds since the epoch.

    Raises:
        ValueError: *output* is no JSON value.
    """
    data = {"graph_id": graph_id, "node_id": node_id, "output": output, **facts}
    return event(COMPLETED, graph_id, execution_id, node_id, data, now)


def failed_event(
    graph_id: str, execution_id: str, node_id: str, error: str, code: str, facts: dict[str, Any], now: float
) -> bytes:
    """Write a `node.failed` event; *facts* as for `completed_event`."""
    why = {"error": error, "error_code": code, "retriable": code not in NOT_RETRIABLE}
    data = {"graph_id": graph_id, "node_id": node_id, "output": None, **why, **facts}
    return event(FAILED, graph_id, execution_id, node_id, data, now)


def event(kind: str, graph_id: str, execution_id: str, node_id: str, data: dict[str, Any], now: float) -> bytes:
    """
    Write an event: a run's progress (`node.started`, `llm.called` and the like), or a result.

    Args:
        data: Begins with the graph's and the node's id.
        now: Seconds since the epoch.

    Raises:
        ValueError: *data* holds what is no JSON value.
    """
    return dumps(
        {
            "id": f"{_ids.getrandbits(128):032x}",
            "type": kind,
            "timestamp": rfc3339(now),
            "graph_id": graph_id,
            "execution_id": execution_id,
            "node_id": node_id,
            "data": data,
        }
    )


def node_entry(
    *, node_id: str, outcome: Outcome, started_at: float, completed_at: float, metadata: dict[str, Any]
) -> dict[str, Any]:
    """Make a node's entry in its graph's state; times in seconds since the epoch."""
    completed = isinstance(outcome, Completed)
    return {
        "node_id": node_id,
        "status": "completed" if completed else "failed",
        "output": outcome.output if isinstance(outcome, Completed) else None,
        "error": None if isinstance(outcome, Completed) else outcome.error,
        "started_at": rfc3339(started_at),
        "completed_at": rfc3339(completed_at),
        "metadata": metadata if isinstance(outcome, Completed) else {**metadata, "error_code": outcome.code},
    }


@lru_cache(maxsize=16)
def rfc3339(seconds: float) -> str:
    """Write a time since the epoch as RFC 3339, UTC, milliseconds, `Z`."""
    millis = round(seconds * 1_000_000) // 1000
    return f"{_second(millis // 1000)}.{millis % 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    # Six times an item, within the same second or two: made once it costs a third.
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC).isoformat()[:19]
