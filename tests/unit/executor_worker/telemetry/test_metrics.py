"""Counting into shared areas, and the page Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from executor_worker.telemetry.metrics import FAMILIES, Recorder, page, total
from executor_worker.telemetry.run_ends import run_ended
from orchestrator.metrics import FAMILIES as OF_THE_API
from supervisor.scoreboard.counters import Counters


class Area(Counters):
    """A slot's counters in plain memory."""

    def __init__(self) -> None:
        super().__init__(bytearray(32768), 0, 32768)


def samples(*areas: Area, gauges: Any = ()) -> dict[tuple[str, ...], float]:
    """All samples of a page: (name, label=value, …) → value."""
    families = text_string_to_metric_families(page(total(areas), gauges).decode())
    return {
        (one.name, *(f"{key}={value}" for key, value in sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def test_slots_are_summed_up() -> None:
    """A total is the sum over all slots' areas."""
    first, second = Area(), Area()
    for area in (first, second, second):
        Recorder(area).count("dago_llm_calls_total", "m")
    assert samples(first, second)["dago_llm_calls_total", "model=m"] == 3


def test_counters_without_labels_stand_at_zero() -> None:
    """They are there before anything is counted; those with labels have no sample yet."""
    found = samples(Area())
    assert found[("dago_items_fenced_total",)] == 0
    assert not [key for key in found if key[0] == "dago_nodes_executed_total"]


def test_a_histogram_counts_each_value_once() -> None:
    """Buckets add up, a value on a bound belongs below it, sum and count are those of all values."""
    area = Area()
    recorder = Recorder(area)
    for value in (0.01, 0.02, 1.0, 5000.0):
        recorder.observe("dago_tool_duration_seconds", value, "t")
    found = samples(area)
    name = "dago_tool_duration_seconds"
    assert found[f"{name}_bucket", "le=0.01", "tool=t"] == 1
    assert found[f"{name}_bucket", "le=0.05", "tool=t"] == 2
    assert found[f"{name}_bucket", "le=1.0", "tool=t"] == 3
    assert found[f"{name}_bucket", "le=5.0", "tool=t"] == 3
    assert found[f"{name}_bucket", "le=+Inf", "tool=t"] == found[f"{name}_count", "tool=t"] == 4
    assert found[f"{name}_sum", "tool=t"] == 0.01 + 0.02 + 1.0 + 5000.0


def test_clocks_that_run_apart_give_no_negative_sum() -> None:
    """A wait that seems negative counts as none."""
    area = Area()
    Recorder(area).observe("dago_queue_wait_time_seconds", -5.0)
    found = samples(area)
    assert found[("dago_queue_wait_time_seconds_sum",)] == 0
    assert found[("dago_queue_wait_time_seconds_count",)] == 1


def test_labels_from_outside_are_cut_and_escaped() -> None:
    """Separators, quotes, newlines, lone surrogates and megabytes in a label break nothing."""
    area = Area()
    recorder = Recorder(area)
    for label in ("a\x1fb", 'q"\\\n', "\ud800", "x" * 10**6, ""):
        recorder.count("dago_tool_executions_total", label)
    found = {key[1] for key in samples(area) if key[0] == "dago_tool_executions_total"}
    assert found == {"tool=a b", 'tool=q"\\\n', "tool=?", "tool=" + "x" * 100, "tool="}


def test_keys_of_another_version_are_left_out() -> None:
    """A key with another number of labels, or of no family, does not spoil the page."""
    area = Area()
    area.add(b"dago_llm_calls_total\x1fm\x1fextra", 1)
    area.add(b"never_heard_of", 1)
    area.add(b"dago_llm_latency_seconds\x1f0.1", 1)
    assert not [key for key in samples(area) if key[0] in ("dago_llm_calls_total", "never_heard_of")]


def test_gauges_carry_their_labels() -> None:
    """Values read now stand beside what was counted; one without values is only announced."""
    gauges = [
        ("dago_queue_depth", "h", {(("queue", "a"),): 3, (("queue", "b"),): 0}),
        ("dago_items_pending", "h", {(): 2}),
        ("dago_none", "h", {}),
    ]
    found = samples(Area(), gauges=gauges)
    assert found["dago_queue_depth", "queue=a"] == 3
    assert found["dago_queue_depth", "queue=b"] == 0
    assert found[("dago_items_pending",)] == 2


def test_what_the_original_counts_has_its_names_labels_and_buckets() -> None:
    """Boards and alerts made for it go on working; gauges are read, not counted."""
    durations = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    original: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
        "dago_graphs_submitted_total": (("status",), ()),
        "dago_graphs_completed_total": (("status",), ()),
        "dago_graphs_failed_total": ((), ()),
        "dago_nodes_executed_total": (("node_type", "status"), ()),
        "dago_nodes_failed_total": (("node_type",), ()),
        "dago_node_execution_duration_seconds": ((), (0.1, 0.5, *durations, 120.0, 300.0)),
        "dago_tool_executions_total": (("tool",), ()),
        "dago_tool_failures_total": (("tool",), ()),
        "dago_llm_calls_total": (("model",), ()),
        "dago_llm_tokens_total": (("model", "type"), ()),
        "dago_graph_duration_seconds": ((), (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)),
        "dago_node_duration_seconds": (("node_type",), (0.1, 0.5, *durations)),
        "dago_tool_duration_seconds": (("tool",), (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0)),
        "dago_llm_latency_seconds": (("model",), (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)),
        "dago_queue_wait_time_seconds": ((), (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)),
    }
    known = {**FAMILIES, **OF_THE_API}
    assert {name: (known[name].labels, known[name].buckets) for name in original} == original


def test_the_end_of_a_run_is_counted() -> None:
    """By how it ended, with how long it took."""
    area = Area()
    recorder = Recorder(area)
    for status in ("completed", "failed", "cancelled", "failed"):
        run_ended(recorder, status, 2.0, "g")
    found = samples(area)
    assert found["dago_graphs_completed_total", "status=failed"] == found[("dago_graphs_failed_total",)] == 2
    assert found["dago_graphs_completed_total", "status=completed"] == 1
    assert found[("dago_graph_duration_seconds_sum",)] == 8


def test_buckets_rise() -> None:
    """In each histogram; no counter has any."""
    for name, family in FAMILIES.items():
        assert bool(family.buckets) is name.endswith("_seconds")
        assert list(family.buckets) == sorted(set(family.buckets))
