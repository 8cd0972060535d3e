"""Items that a worker lets go of unsettled: given back, parked until they may be run, or lost to another worker."""

from __future__ import annotations

from executor_worker.broker import Claim, Held
from executor_worker.errors import Abandoned, Parked, StreamError
from executor_worker.telemetry import logs
from executor_worker.worker.report import RareReport
from executor_worker.worker.stages import Work
from supervisor.scoreboard.scoreboard import Row


class LettingGo:
    def __init__(self, row: Row, report: RareReport) -> None:
        self._row = row
        self._report = report

    def abandon(self, claim: Claim, reason: Abandoned) -> None:
        """Give back what its run has left, unless another worker has it."""
        if self._row.lost:
            self._report.lost(claim.held.entry)
            return
        logs.info("item.released", entry=claim.held.entry, reason=str(reason))
        self.give_back(claim)

    def park(self, work: Work, reason: Parked) -> None:
        """Let the item wait in the stream until its model may be called: no lease is held meanwhile."""
        logs.debug("item.parked", throttle=reason.throttle_key, refused=reason.refused)
        try:
            ends_at = _sooner(work.deadline, reason.ends_at)
            if work.claim.park(reason.throttle_key, reason.refused, watched=work.watched, ends_at=ends_at):
                self._report.postponed()
        except StreamError as error:
            self._unreleased(work.held, error)

    def give_back(self, claim: Claim) -> None:
        try:
            if claim.release(counted=False):
                self._report.released()
        except StreamError as error:
            self._unreleased(claim.held, error)

    def _unreleased(self, held: Held, error: StreamError) -> None:
        logs.warning("item.unreleased", entry=held.entry, reason=str(error), advice="it is taken over after LEASE")


def _sooner(*ends: float | None) -> float:
    """The first of *ends*; 0 if there is none."""
    return min((end for end in ends if end), default=0.0)
