"""A view of a slot's run, beyond what `/workers` says: for people who look at the pool, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from supervisor.scoreboard.scoreboard import Row


def run_facts(row: Row, time_of: Callable[[int], str | None]) -> dict[str, Any]:
    """
    Args:
        time_of: Makes a time of nanoseconds of the monotonic clock, nothing of 0.

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
