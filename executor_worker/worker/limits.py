"""Limits of every item, whatever its kind: time, size, and how often it may be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executor_worker.errors import Poisoned
from executor_worker.outcome import Failed
from executor_worker.worker.stages import Conclusion


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of every item; seconds and bytes."""

    node_timeout_s: float
    max_deliveries: int
    max_item_bytes: int


LONGEST_S = 1e9
KILLED_FOR: Mapping[str, str] = {
    "node_timeout": "the node did not end within its time and could not be interrupted; its worker was ended",
    "cancelled": "the graph was cancelled; the node could not be interrupted, its worker was ended",
    "tool_timeout": "the tool did not end within its time and could not be interrupted; its worker was ended",
}
KILLED = "the worker that ran the node had to be ended"


def answer_of_history(attempt: int, failure_code: str, limits: Limits) -> Conclusion | None:
    """
    Answer an item whose earlier runs forbid another one; None: it may run.

    Args:
        attempt: Which run this would be, from 1.
        failure_code: Under which the worker that held it before was ended; "" if it was not.
    """
    if failure_code:
        return Conclusion(Failed(KILLED_FOR.get(failure_code, KILLED), failure_code))
    if attempt <= limits.max_deliveries:
        return None
    ended = f"{_runs(attempt - 1)} with its worker; it is kept in the dead-letter stream"
    return Conclusion(Failed.of(Poisoned(ended)), "poisoned")


def _runs(runs: int) -> str:
    return f"the item was run {runs} times and each run ended" if runs > 1 else "the item's only run ended"


def own_timeout(config: dict[str, Any]) -> float:
    """The node's own limit in seconds, infinite if it names none; a wrong one is the spec's to refuse."""
    value = config.get("timeout")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LONGEST_S:
        return float("inf")
    return float(value)
