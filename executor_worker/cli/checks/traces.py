"""Check of traces: whether they can be made and are taken, if they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.errors import ConfigError
from executor_worker.program.wiring import traces_variable, tracing_of
from executor_worker.settings import Settings
from executor_worker.settings.addresses import without_password


def check_traces(settings: Settings) -> Iterator[Finding]:
    if not settings.traces_endpoint:
        return
    where = without_password(settings.traces_endpoint)
    try:
        heard = tracing_of(settings, "check").heard()
    except ConfigError as error:
        yield from_error(error)
        return
    if heard:
        yield ok(traces_variable(settings), f"{where} takes traces")
    else:
        advice = "is it up, is that its address for OTLP over HTTP, does it want OTEL_EXPORTER_OTLP_HEADERS?"
        yield fix(traces_variable(settings), f"{where} takes no traces: {advice}")
