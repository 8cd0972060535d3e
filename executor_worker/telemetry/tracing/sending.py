"""Span export: by OTLP over HTTP, in batches, from a thread that the worker never waits for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.version import __version__
from opentelemetry.trace import NoOpTracer, Tracer

from executor_worker.telemetry import logs

ANSWER_S = 3.0
MOST_WAITING, BATCH = 512, 128  # spans: what waits weighs some 5 KiB each, and more than that is lost
_SDK = {
    "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": __version__,
}
# What they say of each batch that can't be sent is said once, by us.
_TALKATIVE = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")


@dataclass(frozen=True, slots=True)
class Collector:
    """
    Attributes:
        endpoint: The whole address, path included.
        shown: The same without passwords.
        resource: What is said once for all spans: whose they are.
        sampler: A name that OTEL_TRACES_SAMPLER may have.
        ratio: Of the traces that a sampler with `ratio` in its name takes.
    """

    endpoint: str
    shown: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    resource: Mapping[str, str] = field(default_factory=dict)
    sampler: str = "parentbased_always_on"
    ratio: float = 1.0


class Ids(RandomIdGenerator):
    """Ids of spans and traces: by chance, unless a run's span is told, which has been named when it was submitted."""

    def __init__(self) -> None:
        self._trace: int | None = None
        self._span: int | None = None

    @contextmanager
    def given(self, trace: int, span: int | None) -> Iterator[None]:
        """Name what begins within so; *span*: None: by chance."""
        self._trace, self._span = trace, span
        try:
            yield
        finally:
            self._trace = self._span = None

    def generate_trace_id(self) -> int:
        return self._trace or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._span or super().generate_span_id()


class Sender:
    """
    Begins when its tracer is asked for: that starts a thread. If it can't, no spans are made.

    Attributes:
        ids: Of its spans.
    """

    def __init__(self, collector: Collector) -> None:
        self.ids = Ids()
        self._collector = collector
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    @property
    def tracer(self) -> Tracer:
        if self._tracer is None:
            self._tracer = self._begin()
        return self._tracer

    def heard(self) -> bool:
        """Send a batch of none, as a question."""
        return self._exporter(ANSWER_S).export(()) is SpanExportResult.SUCCESS

    def close(self, seconds: float) -> None:
        """Send what is left, for so long at most."""
        if self._provider is None:
            return
        # Not by the SDK's own limits: it waits for a request under way.
        last = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        with suppress(RuntimeError):  # there is no room for another thread
            last.start()
            last.join(seconds)

    def _begin(self) -> Tracer:
        try:
            self._provider = self._made()
        except Exception as error:  # noqa: BLE001 - whatever it is, items go on without
            advice = "items go on without; its own OTEL_* variables may be wrong"
            logs.log("error", "traces.unavailable", exception=error, advice=advice)
            return NoOpTracer()
        return self._provider.get_tracer("executor_worker")

    def _made(self) -> TracerProvider:
        collector = self._collector
        provider = TracerProvider(
            sampler_of(collector.sampler, collector.ratio),
            Resource({**_SDK, **collector.resource}),  # not `create`, which looks through all that is installed
            shutdown_on_exit=False,
            id_generator=self.ids,
        )
        reporting = Reporting(self._exporter(), collector.shown)
        provider.add_span_processor(
            BatchSpanProcessor(reporting, max_queue_size=MOST_WAITING, max_export_batch_size=BATCH)
        )
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        return provider

    def _exporter(self, seconds: float | None = None) -> OTLPSpanExporter:
        """Args: seconds: For one batch, repeats included; None: as its own variable says, else 10."""
        collector = self._collector
        # The session is ours so that its package is imported before the fork: it weighs 10 MiB.
        return OTLPSpanExporter(
            collector.endpoint, headers=collector.headers, timeout=seconds, session=requests.Session()
        )


class Reporting(SpanExporter):
    """Says once that nothing gets through, and once that it does again."""

    def __init__(self, exporter: SpanExporter, shown: str) -> None:
        self._exporter = exporter
        self._shown = shown
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - else the SDK says it of each batch
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._note_success()
        else:
            self._note_failure(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _note_success(self) -> None:
        if self._lost:
            logs.info("traces.sent_again", lost=self._lost)
        self._lost = 0

    def _note_failure(self, count: int) -> None:
        if not self._lost:
            advice = "items go on without; is it up, and does it take OTLP over HTTP there?"
            logs.warning("traces.unsent", endpoint=self._shown, advice=advice)
        self._lost += count


def sampler_of(name: str, ratio: float) -> sampling.Sampler:
    root = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(ratio),
    }[name.removeprefix("parentbased_")]
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root
