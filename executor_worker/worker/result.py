"""The result of a settlement."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.broker import Claim
from executor_worker.graph.ends import RunEnd
from executor_worker.outcome import Failed
from executor_worker.worker.stages import Conclusion


@dataclass(slots=True)
class Result:
    """
    The result of a settlement, as the worker reports it.

    Attributes:
        settled: False if the item was no longer ours; nothing was written then.
        conclusion: As it was committed.
        trimmed: The entry had been trimmed away meanwhile; the result was committed all the same.
        late: It was acknowledged only: its run had gone on, or ended, without it.
        next: The item taken in the same step.
        ends: Of runs that are over with it.
    """

    settled: bool
    conclusion: Conclusion
    trimmed: bool = False
    late: bool = False
    next: Claim | None = None
    ends: tuple[RunEnd, ...] = ()

    @property
    def fate(self) -> str:
        """The item's fate in one word, for its span."""
        if not self.settled:
            return "fenced"
        if self.late:
            return "late"
        outcome = self.conclusion.outcome
        if outcome is None:
            return "repeated"
        return "failed" if isinstance(outcome, Failed) else "completed"

    @property
    def error_code(self) -> str | None:
        """The code by which its node has failed."""
        outcome = self.conclusion.outcome
        return outcome.code if isinstance(outcome, Failed) else None
