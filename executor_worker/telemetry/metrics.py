"""
Metrics: what is counted, under which names, and how it is shown to Prometheus.

Workers add to their slot's counters in shared memory; the server of `/metrics` sums the slots up. Values outlive
the workers that wrote them, so a total never goes down while the supervisor lives, or a successor by SIGUSR2.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

SEPARATOR = "\x1f"
LABEL_LIMIT = 100  # characters; a label is data from outside and stands in a fixed area

# Bounds of buckets, in seconds: the original's, so that its boards and alerts go on working.
RUN_S = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
EXECUTION_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
NODE_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
TOOL_S = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0)
MODEL_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
WAIT_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
GAP_S = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; `buckets` (upper bounds, seconds) make it a histogram, else it is a counter."""

    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


RUNS: Mapping[str, Family] = {
    "dago_graphs_completed_total": Family("Runs that have ended, by how.", ("status",)),
    "dago_graphs_failed_total": Family("Runs that have failed."),
    "dago_graph_duration_seconds": Family("From the start of a run to its end.", (), RUN_S),
}
"""What is counted of a run by the process that commits its end: a worker, a keeper, the API."""

FAMILIES: Mapping[str, Family] = {
    **RUNS,
    "dago_nodes_executed_total": Family("Nodes that were run to an end.", ("node_type", "status")),
    "dago_nodes_failed_total": Family("Nodes that failed.", ("node_type",)),
    "dago_node_errors_total": Family("Nodes that failed, by error code.", ("code",)),
    "dago_node_duration_seconds": Family("From taking an item to its outcome, by mode.", ("node_type",), NODE_S),
    "dago_node_execution_duration_seconds": Family("From taking an item to its outcome.", (), EXECUTION_S),
    "dago_queue_wait_time_seconds": Family("From being added to the stream to the first take.", (), WAIT_S),
    "dago_llm_calls_total": Family("Model calls that have ended.", ("model",)),
    "dago_llm_failures_total": Family("Model calls that brought no answer.", ("model",)),
    "dago_llm_tokens_total": Family("Tokens used: input, output, cache_read, cache_write.", ("model", "type")),
    "dago_llm_cost_usd_total": Family("US dollars spent, at the prices of LLM_PRICES.", ("model",)),
    "dago_llm_latency_seconds": Family("Duration of a model call, retries included.", ("model",), MODEL_S),
    "dago_tool_executions_total": Family("Tool calls that have ended.", ("tool",)),
    "dago_tool_failures_total": Family("Tool calls that failed.", ("tool",)),
    "dago_tool_duration_seconds": Family("Duration of a tool call.", ("tool",), TOOL_S),
    "dago_worker_restarts_total": Family("Workers replaced, by reason.", ("reason",)),
    "dago_items_reclaimed_total": Family("Items taken over from another run that did not end."),
    "dago_items_fenced_total": Family("Runs whose item was no longer theirs when they tried to settle it."),
    "dago_items_dead_total": Family("Items sent to a dead-letter stream.", ("reason",)),
    "dago_items_postponed_total": Family("Items given back until their throttled model may be called."),
    "dago_items_released_total": Family("Items given back unfinished."),
    "dago_cpu_seconds_total": Family("CPU time used: supervisor, keeper, worker, api.", ("role",)),
    "dago_run_step_gap_seconds": Family("From the end of a run's node to the start of the next.", (), GAP_S),
    "dago_runs_mended_total": Family("Items of runs that Redis had lost and that were queued again."),
}


class Totals(Protocol):
    """Sums of one part of the counters, by key."""

    def items(self) -> Mapping[bytes, float]: ...


class Area(Totals, Protocol):
    """
    A slot's shared counters.

    Attributes:
        values: The totals, by place.
    """

    @property
    def values(self) -> MutableSequence[float] | memoryview[float]: ...

    def place_of(self, key: bytes) -> int: ...


class _Histogram:
    """The places of one histogram's totals; each is taken when it is used first."""

    __slots__ = ("bounds", "buckets", "parts", "total")

    def __init__(self, bounds: tuple[float, ...], parts: tuple[str, ...]) -> None:
        self.bounds = bounds
        self.parts = parts
        self.buckets: list[int | None] = [None] * (len(bounds) + 1)
        self.total: int | None = None


class Recorder:
    """Counts into one slot's area; the place of a total is looked up once and kept."""

    def __init__(self, area: Area, families: Mapping[str, Family] = FAMILIES) -> None:
        self._area = area
        self._values = area.values
        self._families = families
        self._places: dict[tuple[str, ...], int] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], _Histogram] = {}

    def count(self, name: str, *labels: str, amount: float = 1.0) -> None:
        parts = (name, *labels)
        place = self._places.get(parts)
        if place is None:
            place = self._places[parts] = self._place(parts)
        self._values[place] += amount

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add *value* (seconds) to a histogram."""
        into = self._histograms.get((name, labels))
        if into is None:
            into = self._histograms[name, labels] = _Histogram(self._families[name].buckets, (name, *labels))
        bucket = bisect_left(into.bounds, value)
        place = into.buckets[bucket]
        if place is None:
            bound = str(into.bounds[bucket]) if bucket < len(into.bounds) else "+Inf"
            place = into.buckets[bucket] = self._place((*into.parts, bound))
        self._values[place] += 1.0
        if value > 0:
            if into.total is None:
                into.total = self._place((*into.parts, "sum"))
            self._values[into.total] += value

    def _place(self, parts: tuple[str, ...]) -> int:
        safe = [part[:LABEL_LIMIT].replace(SEPARATOR, " ") for part in parts]
        return self._area.place_of(SEPARATOR.join(safe).encode("utf-8", "replace"))


def total(areas: Iterable[Totals]) -> dict[tuple[str, ...], float]:
    """Sum areas up: (name, label values…, for histograms the bucket) → value."""
    totals: dict[tuple[str, ...], float] = {}
    for area in areas:
        for key, value in area.items().items():
            parts = tuple(key.decode("utf-8", "replace").split(SEPARATOR))
            totals[parts] = totals.get(parts, 0.0) + value
    return totals


Gauge = tuple[str, str, Mapping[tuple[tuple[str, str], ...], float]]
"""A value read now: name, help, and value by its labels as (name, value) pairs."""


class _Page:
    """Prometheus' custom collector over a snapshot."""

    def __init__(
        self, totals: Mapping[tuple[str, ...], float], gauges: Iterable[Gauge], families: Mapping[str, Family]
    ) -> None:
        self._families = families
        self._totals = totals
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            rows = {parts[1:]: value for parts, value in self._totals.items() if parts[0] == name}
            yield _histogram(name, family, rows) if family.buckets else _counter(name, family, rows)
        for name, text, values in self._gauges:
            yield _gauge(name, text, values)


def _counter(name: str, family: Family, rows: Mapping[tuple[str, ...], float]) -> Metric:
    metric = CounterMetricFamily(name, family.help, labels=family.labels)
    if not family.labels:
        rows = rows or {(): 0.0}
    for labels, value in sorted(rows.items()):
        if len(labels) == len(family.labels):
            metric.add_metric(labels, value)
    return metric


def _histogram(name: str, family: Family, rows: Mapping[tuple[str, ...], float]) -> Metric:
    metric = HistogramMetricFamily(name, family.help, labels=family.labels)
    series = {parts[:-1] for parts in rows if len(parts) == len(family.labels) + 1}
    if not family.labels:
        series.add(())
    for labels in sorted(series):
        seen, buckets = 0.0, []
        for bound in [*map(str, family.buckets), "+Inf"]:
            seen += rows.get((*labels, bound), 0.0)
            buckets.append((bound, seen))
        metric.add_metric(labels, buckets, rows.get((*labels, "sum"), 0.0))
    return metric


def _gauge(name: str, text: str, values: Mapping[tuple[tuple[str, str], ...], float]) -> Metric:
    names = [label for label, _ in next(iter(values), ())]
    metric = GaugeMetricFamily(name, text, labels=names)
    for labels, value in values.items():
        metric.add_metric([shown for _, shown in labels], value)
    return metric


def page(
    totals: Mapping[tuple[str, ...], float], gauges: Iterable[Gauge], families: Mapping[str, Family] = FAMILIES
) -> bytes:
    """Render Prometheus' text format (version 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(totals, gauges, families))
    return generate_latest(registry)
