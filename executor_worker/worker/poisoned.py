"""Poisoned items, and items whose worker had to be ended: the answer that earlier runs give."""

from __future__ import annotations

from collections.abc import Mapping

from executor_worker.errors import Poisoned
from executor_worker.outcome import Failed
from executor_worker.worker.limits import Limits
from executor_worker.worker.stages import Conclusion

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
