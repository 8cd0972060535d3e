"""
Settling of a conclusion in one commit, all at once and only if the item is still ours.

If its kind has to draw it up anew it is tried again; if no reply came it is repeated until one does, and finds its own
commit if it was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from executor_worker.broker import Settled, Settlement
from executor_worker.broker.connection.advice import advice_of
from executor_worker.errors import StreamError, StreamRefused
from executor_worker.graph.ends import RunEnd, run_ends
from executor_worker.outcome import Failed
from executor_worker.telemetry import logs
from executor_worker.worker.kinds import Kinds, Stamp
from executor_worker.worker.result import Result
from executor_worker.worker.stages import Conclusion, Work


class Settler:
    """
    Args:
        worker_id: The consumer's name, for `data.worker_id`.
        pause: Called after each lost reply with the number of tries so far; waits, and answers False to give up.
    """

    def __init__(
        self,
        kinds: Kinds,
        worker_id: str,
        pause: Callable[[int], bool],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds = kinds
        self._worker_id = worker_id
        self._pause = pause
        self._wall = wall
        self._clock = clock

    def repeat(self, work: Work, conclusion: Conclusion) -> bool:
        """
        Give the item back to be run again, if its node's policy says so; answers whether that was done.

        Raises:
            StreamError: `pause` gave up; whether it was done is unknown.
        """
        wait_s = self._kinds[work.claim.delivery.kind].repeats_in_s(work, conclusion)
        outcome, tries = conclusion.outcome, 0
        while wait_s is not None and isinstance(outcome, Failed):
            try:
                given = work.claim.repeat(wait_s, watched=work.watched, ends_at=work.deadline or 0.0)
            except StreamError:
                tries += 1
                if not self._pause(tries):
                    raise
                continue
            if given:
                logs.info("node.retrying", error_code=outcome.code, attempt=work.attempt, wait_s=round(wait_s, 3))
            return given
        return False

    def settle(self, work: Work, conclusion: Conclusion, take_next: Callable[[], bool]) -> Result:
        """
        Commit what *work* has come to, and take the next item in the same step if *take_next* still wants one.

        Raises:
            StreamError: `pause` gave up; whether it was committed is unknown.
        """
        claim = work.claim
        stamp = Stamp(self._worker_id, self._wall(), self._clock() - work.began)
        draft = self._kinds[claim.delivery.kind].draft(work, conclusion, stamp)
        tries, refused = 0, False
        while True:
            try:
                answer = claim.settle(draft.commit(), take_next=take_next())
                again = not answer.ending.over and draft.heed(answer)
            except StreamError as error:
                other = draft.instead(error) if isinstance(error, StreamRefused) else None
                if other is not None:
                    draft = other
                    continue
                # Also if Redis refuses: the result is there, the node is not run again for it.
                if isinstance(error, StreamRefused) and not refused:
                    refused = True
                    logs.error("settle.refused", **advice_of(error, "the result waits until Redis takes it"))
                tries += 1
                if not self._pause(tries):
                    raise
                continue
            if not again:
                draft.note(answer)
                over = answer.ending.over
                late = answer.ending is Settled.late
                ends = (*draft.ends, *_ends_of(answer))
                return Result(over, draft.conclusion, draft.forced and over, late, answer.next, ends)


def _ends_of(answer: Settlement) -> tuple[RunEnd, ...]:
    return run_ends(answer.seen) if answer.ending is Settled.settled and answer.seen else ()
