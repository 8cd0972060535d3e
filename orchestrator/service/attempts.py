"""A node's attempts, each with its times, its error and its steps: from its state, its journal and the run's log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from executor_worker.broker.graphs import runs
from orchestrator.service.views import time_of

_INTERNAL = ("form", "key", "config")
_ENDS = ("node.completed", "node.failed", "node.cancelled", "node.skipped")
_SENT = ("", "tool_failed", "tool_timeout", "tool_uncertain", "node_timeout")
"""Codes of errors, none among them, with which a tool node's call had been sent."""

Json = dict[str, Any]


def attempts_of(
    view: runs.NodeView, journals: Sequence[list[Json]], events: Iterable[Json], rendered: Any
) -> list[Json]:
    """
    Put together what is known of each attempt, oldest first.

    Args:
        journals: The records of each attempt; a plain tool call has none.
        events: Of this node, since it became ready; needed where there is more than one attempt.
        rendered: Its config as its worker had it; None: it can't be rendered.
    """
    told = {number: _blank(number) for number in range(1, len(journals) + 1)}
    for event in events:
        _lay_in(told, event)
    if view.attempt in told:
        told[view.attempt].update(_last(view))
    for number, records in enumerate(journals, 1):
        told[number]["steps"] = _steps(records) or _tool_steps(told[number], rendered)
    return list(told.values())


def _blank(number: int) -> Json:
    times = {"status": None, "started_at": None, "completed_at": None, "worker_id": None}
    return {"attempt": number, **times, "error": None, "error_code": None}


def _lay_in(told: dict[int, Json], event: Json) -> None:
    data, at = event["data"], event["timestamp"]
    number = data.get("attempt", 0) - (event["type"] == "node.retrying")  # which names the attempt to come
    if number not in told:
        return
    if event["type"] == "node.started":
        told[number].update(status="running", started_at=at, worker_id=data.get("worker_id"))
    elif event["type"] == "node.retrying" or event["type"] in _ENDS:
        status = "failed" if event["type"] == "node.retrying" else event["type"].removeprefix("node.")
        ended = {"error": data.get("error"), "error_code": data.get("error_code")}
        told[number].update(status=status, completed_at=at, **ended)


def _last(view: runs.NodeView) -> Json:
    """Tell of the last attempt: the node's state is its own."""
    known = {name: view.metadata.get(name) for name in ("worker_id", "error_code")}
    times = {"started_at": time_of(view.started_at_ms), "completed_at": time_of(view.completed_at_ms)}
    last = {"status": view.status, **times, "error": view.error, **known}
    return {name: value for name, value in last.items() if value is not None}


def _steps(records: list[Json]) -> list[Json]:
    return [{name: value for name, value in one.items() if name not in _INTERNAL} for one in records]


def _tool_steps(attempt: Json, rendered: Any) -> list[Json]:
    """Tell of a plain tool call, which writes no journal: the attempt's own start and end are those of its one call."""
    tool = rendered.get("tool_name") if isinstance(rendered, dict) else None
    if not tool or attempt["started_at"] is None or (attempt["error_code"] or "") not in _SENT:
        return []
    arguments = rendered.get("tool_params", rendered.get("parameters")) or {}
    sent: Json = {"step": "sent", "name": tool, "arguments": arguments, "at": attempt["started_at"]}
    if attempt["completed_at"] is None:
        return [sent]
    seconds = _time(attempt["completed_at"]) - _time(attempt["started_at"])
    done: Json = {
        "step": "answered",
        "name": tool,
        "ok": attempt["status"] == "completed",
        "seconds": round(seconds, 3),
    }
    return [sent, {**done, "error": attempt["error"]} if attempt["error"] else done]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
