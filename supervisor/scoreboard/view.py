"""A slot as others are shown it: over HTTP, in the registry, at the control socket, in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from supervisor.scoreboard.row import Row

TimeOf = Callable[[int], str | None]
"""Makes a time of nanoseconds of the monotonic clock, nothing of 0."""


def worker_view(row: Row, time_of: TimeOf) -> dict[str, Any]:
    """Show a slot as `/workers` does: its worker, the item in hand, since when."""
    busy = row.state in ("busy", "draining") and bool(row.held)
    return {
        "slot": row.slot,
        "pid": row.pid or None,
        "state": row.state,
        "phase": row.phase,
        "item": (row.item or None) if busy else None,
        "since": time_of(row.since_ns),
        "items_done": row.items_done,
        "restarts": row.restarts,
        "pss_bytes": row.pss_bytes or None,
    }


def run_view(row: Row, time_of: TimeOf) -> dict[str, Any]:
    """
    Show a slot's run, beyond what `/workers` does: for people who look at the pool, here or elsewhere.

    Returns:
        `mode`, `step` of `steps` (an agent's model calls), `attempt`, `deadline`: the run's, None if there is none;
        `phase_since`, `phase_deadline`: when what is done now began, and when the worker is ended for it;
        `stopped`: by a signal; `respawn`: when a slot without a worker gets the next one.
    """
    progress = row.progress
    return {
        "mode": progress.mode or None,
        "step": progress.step or None,
        "steps": progress.steps or None,
        "attempt": row.attempt if row.run else None,
        "deadline": time_of(progress.ends_ns or row.item_deadline_ns),
        "phase_since": time_of(row.phase_since_ns),
        "phase_deadline": time_of(row.deadline_ns),
        "stopped": row.stopped,
        "respawn": time_of(row.respawn_at_ns) if row.state == "dead" else None,
    }


def registry_view(row: Row, time_of: TimeOf) -> dict[str, Any]:
    """Show a slot as the registry does, for readers that look at many pools."""
    shown = ("slot", "state", "since", "phase", "items_done", "restarts", "pss_bytes")
    worker = worker_view(row, time_of)
    return {"pid": row.pid, **{name: worker[name] for name in shown}, **run_view(row, time_of)}


def log_view(row: Row, now_ns: int) -> dict[str, object]:
    """Show a slot as the control socket and the log do: spans of time up to *now_ns*, in seconds."""
    progress = row.progress
    ends_ns = progress.ends_ns or row.item_deadline_ns
    return {
        "slot": row.slot,
        "pid": row.pid,
        "state": row.state,
        "for_s": round((now_ns - row.since_ns) / 1e9, 1),
        "mode": progress.mode,
        "step": progress.step,
        "steps": progress.steps,
        "phase": row.phase,
        "phase_for_s": round((now_ns - row.phase_since_ns) / 1e9, 1),
        "left_s": round((ends_ns - now_ns) / 1e9, 1) if ends_ns else None,
        "item": row.item,
        "attempt": row.attempt if row.item else 0,
        "items_done": row.items_done,
        "restarts": row.restarts,
        "pss_bytes": row.pss_bytes or None,
    }
