"""Views of runs and nodes as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from executor_worker.broker.graphs import runs
from executor_worker.envelopes.events import rfc3339


def time_of(ms: int | None) -> str | None:
    """Write a time; None if there is none."""
    return rfc3339(ms / 1000) if ms else None


def status_of(head: runs.Head) -> dict[str, Any]:
    """Write a run's status."""
    return {
        "graph_id": head.graph_id,
        "status": head.status,
        "submitted_at": time_of(head.submitted_at_ms),
        "started_at": time_of(head.started_at_ms),
        "completed_at": time_of(head.completed_at_ms),
        "seq": head.seq,
    }


def listed(head: runs.Head) -> dict[str, Any]:
    """Write a run as a line of a list."""
    return {
        "graph_id": head.graph_id,
        "status": head.status,
        "name": head.name or None,
        "submitted_at": time_of(head.submitted_at_ms),
        "started_at": time_of(head.started_at_ms),
        "completed_at": time_of(head.completed_at_ms),
        "nodes": {
            "total": head.total,
            "completed": head.completed,
            "failed": head.failed,
            "running": head.running,
        },
        "labels": head.labels,
        "cost_usd": head.cost_usd,
    }


def node_of(view: runs.NodeView) -> dict[str, Any]:
    """Write a node as a line of its run."""
    return {
        "id": view.id,
        "type": view.type,
        "status": view.status,
        "started_at": time_of(view.started_at_ms),
        "completed_at": time_of(view.completed_at_ms),
        "waiting_for": list(view.waiting_for),
    }


def usage_of(views: Iterable[runs.NodeView]) -> dict[str, Any]:
    """Sum up what the nodes of a run have used."""
    total: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0}
    for view in views:
        usage = view.metadata.get("usage")
        for name, amount in (usage if isinstance(usage, Mapping) else {}).items():
            if isinstance(amount, int | float) and not isinstance(amount, bool):
                total[name] = total.get(name, 0) + amount
    return total


def edges_of(detail: runs.NodeDetail) -> Sequence[dict[str, Any]]:
    """Write a node's outgoing edges, and whether they were taken; null: not decided."""
    took = detail.view.took if detail.view.ended_seq else ""
    return [
        {
            "to": way.target,
            "on": way.on,
            "condition": way.condition,
            "taken": None if not took else took == "*" or took[at : at + 1] == "1",
        }
        for at, way in enumerate(detail.plan.out)
    ]
