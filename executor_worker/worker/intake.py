"""
Intake of a claim: what is to be run, or what is to be answered at once.

Nothing that arrives may stop a worker: whatever is wrong with an item, its state or its history becomes
its answer here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from executor_worker.broker import Claim
from executor_worker.errors import NodeError, StreamError
from executor_worker.outcome import Failed
from executor_worker.telemetry import logs
from executor_worker.worker.journal import recall
from executor_worker.worker.kinds import Kinds
from executor_worker.worker.stages import Conclusion, Work


class Intake:
    """
    Args:
        wall, clock: Seconds since the epoch, monotonic seconds.
    """

    def __init__(
        self,
        kinds: Kinds,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds = kinds
        self._wall = wall
        self._clock = clock

    def open(self, claim: Claim, failure_code: str = "") -> Work:
        """
        Read what was claimed and decide about it.

        Args:
            failure_code: Under which the worker that held this entry before was ended; "" if it was not.

        Raises:
            StreamUnavailable: What it needs could not be read; the item stays held.
        """
        kind = self._kinds[claim.delivery.kind]
        work: Work = kind.begin(claim, self._wall(), self._clock())
        try:
            kind.read(work)
            work.decision = kind.decide(work, failure_code)
        except NodeError as error:
            work.decision = Conclusion(Failed.of(error))
        except StreamError:
            raise
        except Exception as error:  # noqa: BLE001 - else the item would end one worker after the other
            logs.error("intake.broke", entry=claim.held.entry, error=type(error).__name__)
            text = f"the item could not be prepared: there was an unexpected {type(error).__name__}"
            work.decision = kind.give_up(work, text)
        decision = work.decision
        if isinstance(decision, Conclusion) and (failure_code or decision.dead_reason == "poisoned"):
            work.decision = recall(work, decision, kind.journal(work))
        return work
