"""A run is one trace, whoever submits it and whichever process ends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, wait_until
from tests.kit.collector import Collector, Seen
from tests.system.orchestrator.graphs import chain, doubling, waiting

TRACE, SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SENDER}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


def ended(collector: Collector, graph_id: str, count: int = 1) -> Seen:
    """The *count*-th span of the whole run."""

    def found() -> list[Seen]:
        return [one for one in collector.items(graph_id) if "dago.graph.epoch" in one.attributes][count - 1 :]

    return wait_until(found, 20, f"the span of {graph_id}")[0]


def test_a_run_is_one_trace(api: Callable[..., Pool], collector: Collector, tmp_path: Path) -> None:
    """Request, run, queues and attempts are within each other, below the caller's own span."""
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    pool, gate = api(workers=1, **WITH_TOOLS, **traces), tmp_path / "gate"
    with httpx2.Client(base_url=f"{pool.api_url}/api/v1", timeout=60) as http:

        def submit(graph: dict[str, Any], **more: Any) -> str:
            answer = http.post("/graphs", json={"graph": graph, **more}, headers={"traceparent": PARENT})
            found: str = answer.json()["graph_id"]
            return found

        run_id = submit(doubling(), inputs={"x": 1})
        run = ended(collector, run_id)
        assert (run.name, run.trace, run.attributes["dago.graph.status"]) == ("run doubling", TRACE, "completed")
        wait_until(lambda: len(collector.inside(run)) == 2, 20, "the queue and the attempt")
        assert {span.name for span in collector.inside(run)} == {"wait executor.work", "process executor.work"}
        request = wait_until(lambda: [span for span in collector.spans if span.id == run.parent], 20, "the request")[0]
        assert (request.name, request.kind, request.trace) == ("POST /api/v1/graphs", "server", TRACE)
        assert request.parent == SENDER
        assert http.get(f"/graphs/{run_id}").json()["trace_id"] == TRACE

        at_once = ended(collector, submit({"nodes": {"a": {"type": "start"}}}))
        assert at_once.trace == TRACE and at_once.resource["service.instance.id"].endswith(".api.1")

        late = ended(collector, submit(waiting(str(gate)), timeout=0.2))
        assert late.failed and late.seconds >= 0.2

        held = submit(waiting(str(gate)))
        http.post(f"/graphs/{held}/cancel")
        assert ended(collector, held).attributes["dago.graph.status"] == "cancelled"
        gate.touch()
        assert http.post(f"/graphs/{held}/retry").status_code == 200
        again = ended(collector, held, 2)
        assert (again.trace, again.links, again.attributes["dago.graph.epoch"]) == (TRACE, (TRACE,), 2)
        name = "POST /api/v1/graphs/{id}/retry"
        asked = wait_until(lambda: [span for span in collector.spans if span.name == name], 20, "the retry's request")
        assert [span.links for span in asked] == [(TRACE,)] and asked[0].trace != TRACE
        assert not [span for span in collector.spans if "/health" in span.name or "/metrics" in span.name]

    with grpc.insecure_channel(f"127.0.0.1:{pool.grpc_port}") as channel:
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]
        order = messages.SubmitGraphRequest(graph_json=json.dumps(chain(2)))
        made = stub.SubmitGraph(order, timeout=60, metadata=[("traceparent", PARENT)])
    run = ended(collector, made.graph_id)
    wait_until(lambda: len(collector.inside(run)) == 4, 20, "both attempts")
    call = wait_until(lambda: [span for span in collector.spans if span.id == run.parent], 20, "the call")[0]
    assert (call.name, call.parent, run.trace) == ("dago.v1.OrchestratorService/SubmitGraph", SENDER, TRACE)
