"""Reports of each item: what is counted and logged; quiet if all is well."""

from __future__ import annotations

import time
from collections.abc import Iterable

from executor_worker.broker import added_at
from executor_worker.graph.ends import RunEnd
from executor_worker.outcome import Failed
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.run_ends import run_ended
from executor_worker.worker.result import Result
from executor_worker.worker.stages import Work
from supervisor.scoreboard.scoreboard import Head

LONGEST_ERROR = 500  # characters
MODES = frozenset({"llm", "agent", "tool", "router"})


class Report:
    def __init__(self, recorder: Recorder, head: Head) -> None:
        self._recorder = recorder
        self._head = head

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
        if not result.settled:
            self._recorder.count("dago_items_fenced_total")
            logs.warning("item.fenced", delivery=work.held.count, advice="another worker has it; nothing was written")
            return
        if result.trimmed:
            advice = "a producer trims entries that are not settled yet, or the stream or its group was deleted"
            logs.warning("entry.trimmed", stream=work.held.stream, advice=advice)
        if result.late:
            self._recorder.count("dago_items_fenced_total")
            logs.info("item.late", advice="its run had ended or gone on without it; nothing was changed")
            return
        outcome = result.conclusion.outcome
        if outcome is None:
            logs.info("item.repeated", advice="its node has this item's result already; it was acknowledged only")
            return
        kind = outcome.mode or work.mode or (work.node_type if work.node_type in MODES else "unknown")
        self._recorder.observe("dago_node_duration_seconds", seconds, kind)
        self._recorder.observe("dago_node_execution_duration_seconds", seconds)
        self._head.note_done(time.time_ns())
        if isinstance(outcome, Failed):
            self._failed(work, outcome, kind, result.conclusion.dead_reason, seconds)
            return
        self._recorder.count("dago_nodes_executed_total", kind, "completed")
        logs.debug("node.completed", mode=kind, seconds=round(seconds, 4))

    def ended(self, ends: Iterable[RunEnd]) -> None:
        """Runs are over with what this worker has committed."""
        for end in ends:
            run_ended(self._recorder, *end)

    def lost(self, entry: str) -> None:
        """A run has ended because its item was taken over."""
        self._recorder.count("dago_items_fenced_total")
        logs.warning("item.lost", entry=entry, advice="another worker has it; nothing was written")

    def postponed(self) -> None:
        """It was given back until its throttled model may be called."""
        self._recorder.count("dago_items_postponed_total")

    def released(self) -> None:
        self._recorder.count("dago_items_released_total")

    def _failed(self, work: Work, outcome: Failed, kind: str, dead_reason: str | None, seconds: float) -> None:
        self._recorder.count("dago_nodes_executed_total", kind, "failed")
        self._recorder.count("dago_nodes_failed_total", kind)
        self._recorder.count("dago_node_errors_total", outcome.code)
        logs.warning(
            "node.failed", code=outcome.code, mode=kind, attempt=work.attempt, seconds=round(seconds, 4), **_at(outcome)
        )
        if dead_reason is not None:
            self._recorder.count("dago_items_dead_total", dead_reason)
            advice = "see `executor-worker dead list`"
            logs.error("item.dead", reason=dead_reason, stream=work.held.stream, advice=advice)


def _at(outcome: Failed) -> dict[str, str]:
    """Tell where it stood and why it failed, for the author of a tool; else the reason is in the event alone."""
    return {"where": outcome.where, "error": outcome.error[:LONGEST_ERROR]} if outcome.where else {}
