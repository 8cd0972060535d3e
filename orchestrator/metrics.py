"""Metrics of API processes: each counts in its slot's row; shown to Prometheus all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from executor_worker.graph.ends import RunEnd
from executor_worker.telemetry import metrics
from executor_worker.telemetry.metrics import Family, Gauge, Recorder, Totals
from executor_worker.telemetry.run_ends import run_ended
from supervisor.scoreboard.row import Row

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SUBSCRIBERS = "dago_event_subscribers"

FAMILIES: Mapping[str, Family] = {
    **metrics.RUNS,
    "dago_graphs_submitted_total": Family("Graphs that were submitted, or refused for what is wrong.", ("status",)),
    "dago_api_requests_total": Family("Requests that were answered.", ("route", "code")),
    "dago_api_latency_seconds": Family("From a request to the head of its answer.", (), LATENCY_S),
}


class ApiMetrics:
    """
    Counts for one process.

    Args:
        row: This process' own.
        areas: What all processes of this API have counted, those that are gone included.
        beside: What was counted elsewhere and is shown here, since it has no page of its own.
    """

    def __init__(
        self, row: Row, areas: Callable[[], Iterable[Totals]], beside: Callable[[], Iterable[Totals]] | None = None
    ) -> None:
        self._areas = areas
        self._beside = beside
        self._recorder = Recorder(row.counters, FAMILIES)
        self._subscribers = Recorder(row.counters)
        left = metrics.total([row.counters]).get((SUBSCRIBERS,), 0.0)
        self._subscribers.count(SUBSCRIBERS, amount=-left)  # of a process that has not said goodbye

    def measured(self, route: str, status: int | str, seconds: float) -> None:
        """Count a request; *status* is HTTP's number or gRPC's name."""
        self._recorder.count("dago_api_requests_total", route, str(status))
        self._recorder.observe("dago_api_latency_seconds", seconds)

    def submitted(self, status: str) -> None:
        """Count a graph that was submitted, or refused."""
        self._recorder.count("dago_graphs_submitted_total", status)

    def ended(self, ends: Iterable[RunEnd]) -> None:
        """Count runs that are over with what was asked for here: cancelled ones, those that needed no worker."""
        for end in ends:
            run_ended(self._recorder, *end)

    def subscribed(self, change: int) -> None:
        """Count readers of events that come (1) or go (-1)."""
        self._subscribers.count(SUBSCRIBERS, amount=float(change))

    def page(self, gauges: Iterable[Gauge]) -> bytes:
        """Render Prometheus' page, *gauges* beside what was counted."""
        totals = metrics.total([*self._areas(), *(self._beside() if self._beside is not None else ())])
        readers: Gauge = (SUBSCRIBERS, "Readers of events that are connected.", {(): totals.get((SUBSCRIBERS,), 0.0)})
        families = FAMILIES if self._beside is None else {**FAMILIES, **metrics.FAMILIES}
        return metrics.page(totals, [readers, *gauges], families)
