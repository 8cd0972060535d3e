"""Traces where they are not wanted, can't be made, or can't be sent."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.cli.checks.traces import check_traces
from executor_worker.errors import Abandoned, ConfigError, Stopped, StreamUnavailable, ToolTimeout
from executor_worker.program.wiring import tracing_of
from executor_worker.settings import Settings
from executor_worker.telemetry import logs
from executor_worker.telemetry.tracing import NO_TRACING, ItemFacts
from tests.kit import wait_until
from tests.kit.collector import Collector

HERE = {"WORKER_ID": "w", "ENV_FILE": "/dev/null"}
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def facts(**more: Any) -> ItemFacts:
    known = {"stream": "s", "entry": "1-0", "consumer": "w.1", "count": 1, "attempt": 1, "taken_at": 1.0, "size": 2}
    return ItemFacts(**{**known, "graph_id": "g", "node_id": "n", "execution_id": "g", **more})


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, ""),
        ({ENDPOINT: "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}, "http://t/x"),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_METRICS_EXPORTER": "none"}, ""),
    ],
)
def test_where_traces_go(given: dict[str, str], endpoint: str) -> None:
    """As the standard variables say; nowhere by default, and others' variables are no misspelt ones of ours."""
    settings = Settings.load(HERE | given)
    assert settings.traces_endpoint == endpoint and not settings.warnings


def test_headers_are_secret(tmp_path: Path) -> None:
    """They may come as a file, by the standard's form, and are shown nowhere; nor is the endpoint's password."""
    (tmp_path / "headers").write_text("x-key=Bearer%20abc, x-tenant=a\n")
    given = {"OTEL_EXPORTER_OTLP_HEADERS_FILE": str(tmp_path / "headers"), ENDPOINT: "http://u:planted@c:4318"}
    settings = Settings.load(HERE | given)
    assert settings.otel_exporter_otlp_headers == {"x-key": "Bearer abc", "x-tenant": "a"}
    assert {"abc", "planted"} <= set(settings.secrets)


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "'grpc' is not one of http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "sesame", "its value is not a list of name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=a%0Ab", "its value is not a list of name=value, .*it has a line break"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a b=c", "'a b=c' is not a list of name=value"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "'1.5' is not a number from 0 to 1"),
    ],
)
def test_settings_without_effect_are_named(variable: str, value: str, shown: str) -> None:
    """What can't be used is said with the variable, and not shown where it is a secret; traces go on without."""
    settings = Settings.load(HERE | {ENDPOINT: "http://c:4318", variable: value})
    (warning,) = settings.warnings
    assert re.search(f"^{variable} .*{shown}", warning)
    assert settings.traces_endpoint


def test_nothing_is_imported_where_none_are_asked_for() -> None:
    """The whole program is loaded, and neither the SDK nor what it brings along is."""
    program = (
        "import sys; from executor_worker.program.wiring import tracing_of\n"
        "from executor_worker.settings import Settings\n"
        f"tracing = tracing_of(Settings.load({HERE!r}), 'w.1')\n"
        "print(type(tracing).__name__, [name for name in ('opentelemetry.sdk', 'google.protobuf', 'requests')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "Tracing []\n"


def test_missing_extra_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to be installed is said, and by which variable it is wanted."""
    for name in ("executor_worker.telemetry.tracing.otlp", "executor_worker.telemetry.tracing.sending"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT: .*pip install 'da-node-executor\[otel\]'"):
        tracing_of(Settings.load(HERE | {ENDPOINT: "http://c:4318"}), "w.1")


def test_lost_collector_is_told_of_once(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line when nothing gets through any more, not one a batch; nobody waits for it."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.05")
    logs.configure("info", "json")
    tracing = tracing_of(Settings.load(HERE | {ENDPOINT: "http://u:planted@127.0.0.1:1"}), "w.1")
    said = ""

    def told() -> bool:
        nonlocal said
        with tracing.item(facts()):
            pass
        said += capfd.readouterr().err
        return said.count("traces.unsent") > 0

    wait_until(told, 20, "traces.unsent is logged")
    for _ in range(20):
        told()
    tracing.close(5)
    said += capfd.readouterr().err
    assert said.count("\n") == 1 and "planted" not in said, said


def test_spans_end_by_whatever_ends_their_step(collector: Collector) -> None:
    """Errors by their codes; what was broken off leaves nothing behind for the next item; odd names go through."""
    tracing = tracing_of(Settings.load(HERE | {ENDPOINT: collector.url}), "w.1")
    ends = {
        ToolTimeout("secret"): "tool_timeout",
        Stopped("x"): "cancelled",
        Abandoned("x"): "abandoned",
        StreamUnavailable("x"): "unsettled",
        MemoryError(): "internal",
    }
    for error in ends:
        with pytest.raises(type(error)), tracing.item(facts()), tracing.tool("t", "built-in"):
            raise error
    left = tracing.item(facts(graph_id="left"))  # interrupted before anybody could enter it
    with tracing.item(facts(graph_id="\ud800" + "x" * 999, traceparent="00-nonsense", tracestate="=" * 999)) as last:
        last.ended("completed")
    assert left is not last and tracing.headers == {} and tracing.item_traceparent == ""
    tracing.close(10)
    tools = [span for span in collector.spans if span.name == "execute_tool t"]
    assert [span.attributes["error.type"] for span in tools] == list(ends.values())
    last_seen = next(span for span in collector.spans if span.attributes.get("dago.graph.id", "").startswith("?"))
    assert len(last_seen.attributes["dago.graph.id"]) == 256 and not last_seen.parent and not last_seen.failed


def test_check_asks_the_collector(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: taken, or what may be wrong, with no password; none where no traces are asked for."""
    monkeypatch.setattr("executor_worker.telemetry.tracing.sending.ANSWER_S", 0.3)
    nobody = "http://u:planted@127.0.0.1:1"
    found = [list(check_traces(Settings.load(HERE | {ENDPOINT: url}))) for url in (collector.url, nobody, "")]
    assert [[finding.right for finding in findings] for findings in found] == [[True], [False], []]
    assert "planted" not in found[1][0].text and "OTEL_EXPORTER_OTLP_HEADERS" in found[1][0].text
    assert not collector.spans


def test_none_are_made_of_what_is_not_sampled(collector: Collector) -> None:
    """Who does not sample is followed, and those called are told so, unless the sampler says otherwise."""
    sampled = {"always_on": 1, "parentbased_always_on": 0, "traceidratio": 0}
    for sampler in sampled:
        settings = {ENDPOINT: collector.url, "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0"}
        tracing = tracing_of(Settings.load(HERE | settings), "w.1")
        unsampled = f"00-{'ab' * 16}-{'cd' * 8}-00"
        with tracing.item(facts(graph_id=sampler, traceparent=unsampled)):
            assert tracing.headers["traceparent"].startswith(f"00-{'ab' * 16}-")
            assert tracing.headers["traceparent"].endswith(f"-0{sampled[sampler]}")
        tracing.close(10)
    assert {sampler: len(collector.items(sampler)) for sampler in sampled} == sampled


def test_no_tracing_is_no_trouble() -> None:
    """The spans of those who want none do nothing, and say nothing to others."""
    with NO_TRACING.item(facts()) as span, NO_TRACING.agent("n", "m"), NO_TRACING.tool("t", "s"):
        span.ended("completed")
        assert NO_TRACING.headers == {} and NO_TRACING.item_traceparent == ""
    NO_TRACING.close(0)
