"""The trace of a run: the span that stands for all of it, which is told when it ends."""

from __future__ import annotations

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_key
from executor_worker.telemetry.tracing import RunFacts

_FIELDS = ("name", "status", "traceparent", "tracestate", "trace_parent", "epoch", "submitted", "retried_at", "ended")


def trace_of_run(graph_id: str) -> Steps[RunFacts | None]:
    """Look at the trace of an ended run; None if it has gone, or has none."""
    (fields,) = checked((yield [(b"HMGET", run_key(graph_id), *_FIELDS)]))
    name, status, traceparent, tracestate, parent, epoch, submitted, retried, ended = (
        value.decode() if value is not None else "" for value in fields
    )
    if not traceparent or not ended:
        return None
    began = int(retried or submitted) / 1000
    return RunFacts(graph_id, name, status, traceparent, tracestate, parent, int(epoch), began, int(ended) / 1000)
