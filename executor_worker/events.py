"""What goes out: events on result and progress streams, a node's entry in its graph's state; no Redis here."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from executor_worker.outcome import Completed, Outcome
from executor_worker.wire import dumps

COMPLETED, FAILED = "node.completed", "node.failed"


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
    return _event(COMPLETED, graph_id, execution_id, node_id, data, now)


def failed_event(
    graph_id: str, execution_id: str, node_id: str, error: str, code: str, facts: dict[str, Any], now: float
) -> bytes:
    """Write a `node.failed` event; *facts* as for `completed_event`."""
    data = {"graph_id": graph_id, "node_id": node_id, "output": None, "error": error, "error_code": code, **facts}
    return _event(FAILED, graph_id, execution_id, node_id, data, now)


def progress_event(
    kind: str, graph_id: str, execution_id: str, node_id: str, facts: dict[str, Any], now: float
) -> bytes:
    """
    Write an event of a run's progress: `node.started`, `llm.called` and the like.

    Raises:
        ValueError: *facts* hold what is no JSON value.
    """
    return _event(kind, graph_id, execution_id, node_id, {"graph_id": graph_id, "node_id": node_id, **facts}, now)


def _event(kind: str, graph_id: str, execution_id: str, node_id: str, data: dict[str, Any], now: float) -> bytes:
    return dumps(
        {
            "id": os.urandom(16).hex(),
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


def rfc3339(seconds: float) -> str:
    """Write a time since the epoch as RFC 3339, UTC, milliseconds, `Z`."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    # Six times an item, within the same second or two: made once it costs a third.
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
