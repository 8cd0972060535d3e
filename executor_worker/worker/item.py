"""
Opening, settling and reporting of each item: all that a worker does with it besides running it.

`loop.py` calls these one after the other, with the run in between; what only some items need is elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from executor_worker.broker import Claim, Settled, added_at
from executor_worker.broker.connection.advice import advice_of
from executor_worker.errors import NodeError, StreamError, StreamRefused
from executor_worker.graph.ends import run_ends
from executor_worker.outcome import Failed
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Recorder
from executor_worker.worker.journal import recall
from executor_worker.worker.kinds import Kinds, Stamp
from executor_worker.worker.poisoned import POISONED
from executor_worker.worker.report import RareReport
from executor_worker.worker.result import Result
from executor_worker.worker.stages import Conclusion, Work

MODES = frozenset({"llm", "agent", "tool", "router"})


class Intake:
    """
    Decides what is to be run, and what is answered at once.

    Nothing that arrives may stop a worker: whatever is wrong with an item, its state or its history becomes its answer.

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
        if isinstance(decision, Conclusion) and (failure_code or decision.dead_reason == POISONED):
            work.decision = recall(work, decision, kind.journal(work))
        return work


class Settler:
    """
    Settles a conclusion in one commit, all at once and only if the item is still ours.

    If its kind has to draw it up anew it is tried again; if no reply came it is repeated until one does, and finds its
    own commit if it was made.

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
        stamp = self._stamp(work, conclusion)
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
                if draft.is_noted:
                    draft.note(answer)
                over = answer.ending.over
                late = answer.ending is Settled.late
                ends = draft.ends
                if answer.seen and answer.ending is Settled.settled:
                    ends = (*ends, *run_ends(answer.seen))
                return Result(over, draft.conclusion, draft.forced and over, late, answer.next, ends)

    def _stamp(self, work: Work, conclusion: Conclusion) -> Stamp:
        took_s, outcome = self._clock() - work.began, conclusion.outcome
        facts: dict[str, object] = {
            "worker_id": self._worker_id,
            "mode": (outcome is not None and outcome.mode) or work.mode,
            "attempt": work.attempt if conclusion.dead_reason is None else work.last_attempt(conclusion),
            "duration_ms": round(took_s * 1000, 3),
        }
        if outcome is not None and outcome.usage is not None:
            facts["usage"] = outcome.usage.as_json()
        return Stamp(self._worker_id, self._wall(), took_s, facts)


class Report(RareReport):
    """
    Counts and logs each item; quiet if all is well.

    Args:
        note_done: Is told when an item was settled, in nanoseconds since the epoch.
    """

    def __init__(self, recorder: Recorder, note_done: Callable[[int], None]) -> None:
        super().__init__(recorder)
        self._note_done = note_done

    def opened(self, work: Work) -> None:
        """An item is in hand: for the first time, or after another run that did not end."""
        if work.held.count > 1:
            self._recorder.count("dago_items_reclaimed_total")
        else:
            self._recorder.observe("dago_queue_wait_time_seconds", max(work.taken_at - added_at(work.held.entry), 0.0))
            if work.gap_s is not None:
                self._recorder.observe("dago_run_step_gap_seconds", work.gap_s)

    def settled(self, work: Work, result: Result, seconds: float) -> None:
        """An item's settlement has ended, one way or the other."""
        outcome = result.conclusion.outcome
        if result.trimmed:
            self.trimmed(work)
        if not result.settled or result.late or outcome is None:
            self.unwritten(work, result)
            return
        kind = outcome.mode or work.mode or (work.node_type if work.node_type in MODES else "unknown")
        self._recorder.observe("dago_node_duration_seconds", seconds, kind)
        self._recorder.observe("dago_node_execution_duration_seconds", seconds)
        self._note_done(time.time_ns())
        if isinstance(outcome, Failed):
            self.failed(work, outcome, kind, result.conclusion.dead_reason, seconds)
            return
        self._recorder.count("dago_nodes_executed_total", kind, "completed")
        logs.debug("node.completed", mode=kind, seconds=round(seconds, 4))
