"""Reports of what does not happen to every item: what is counted and logged then."""

from __future__ import annotations

from collections.abc import Iterable

from executor_worker.graph.ends import RunEnd
from executor_worker.outcome import Failed
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.run_ends import run_ended
from executor_worker.worker.result import Result
from executor_worker.worker.stages import Work

LONGEST_ERROR = 500  # characters


class RareReport:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def unwritten(self, work: Work, result: Result) -> None:
        """Nothing was committed: the item is not ours any more, or there was nothing to be said for it."""
        if not result.settled:
            self._recorder.count("dago_items_fenced_total")
            logs.warning("item.fenced", delivery=work.held.count, advice="another worker has it; nothing was written")
        elif result.late:
            self._recorder.count("dago_items_fenced_total")
            logs.info("item.late", advice="its run had ended or gone on without it; nothing was changed")
        else:
            logs.info("item.repeated", advice="its node has this item's result already; it was acknowledged only")

    def trimmed(self, work: Work) -> None:
        """The entry was gone from its stream when it was settled."""
        advice = "a producer trims entries that are not settled yet, or the stream or its group was deleted"
        logs.warning("entry.trimmed", stream=work.held.stream, advice=advice)

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

    def failed(self, work: Work, outcome: Failed, kind: str, dead_reason: str | None, seconds: float) -> None:
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
