"""Dead letters, and failures in place of an outcome, as commits of all kinds tell them."""

from __future__ import annotations

from dataclasses import replace

from executor_worker.envelopes.events import rfc3339
from executor_worker.outcome import Failed
from executor_worker.worker.stages import Conclusion, Stamp, Work


def letter_of(work: Work, conclusion: Conclusion, stamp: Stamp) -> dict[str, bytes | str] | None:
    """The fields of a dead letter beside the item itself; None if the item is not dead."""
    outcome = conclusion.outcome
    if conclusion.dead_reason is None or not isinstance(outcome, Failed):
        return None
    return {
        "original_id": work.held.entry,
        "reason": conclusion.dead_reason,
        "error": outcome.error,
        "deliveries": str(work.held.attempt - (conclusion.dead_reason == "poisoned")),
        "consumer": work.held.consumer,
        "failed_at": rfc3339(stamp.now),
    }


def failed_instead(conclusion: Conclusion, error: str, code: str) -> Conclusion:
    """The same as a failure: its outcome can't be written, or is not wanted any more; what it cost stays told."""
    was = conclusion.outcome
    failed = Failed(error, code, was.mode if was else None, was.usage if was else None)
    return replace(conclusion, outcome=failed)


def readable(data: bytes) -> str:
    """*data* as text; bytes that are none as escapes."""
    return data.decode("utf-8", "backslashreplace")
