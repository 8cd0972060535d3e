"""One file of scenarios by every way in and every way of looking: all say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx2
import pytest

from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool
from tests.system.orchestrator.graphs import Graph, chain, doubling
from tests.system.orchestrator.shared import shared_api
from tests.system.orchestrator.sse import read
from tests.system.orchestrator.test_events import frames

V1 = "/api/v1"


def tool(name: str, **params: Any) -> dict[str, Any]:
    return {"type": "tool", "config": {"tool_name": name, "tool_params": params}}


@dataclass(frozen=True)
class Scenario:
    """A graph, and how its run ends."""

    name: str
    graph: Graph
    status: str = "completed"
    output: Any = None
    inputs: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)


WAYS = {"rules": [{"condition": "inputs.n > 1", "target": "big"}], "fallback": "small"}
MIXED = {"ü": ["\n", "☃", None, 1.5]}
SCENARIOS = [
    Scenario("three nodes", doubling(), output=8, inputs={"x": 4}),
    Scenario("a chain", chain(3), output=2),
    Scenario(
        "a condition",
        {
            "nodes": {"a": tool("give_back", value="{{n}}"), "yes": tool("plus", a=1), "no": tool("plus", a=2)},
            "edges": [
                {"from": "a", "to": "yes", "condition": "output > 10"},
                {"from": "a", "to": "no", "condition": "output <= 10"},
            ],
        },
        output={"no": 12},
        inputs={"n": 3},
        states={"yes": "skipped", "no": "completed"},
    ),
    Scenario(
        "a failure",
        {
            "nodes": {"bad": tool("complain", message="no"), "next": tool("plus", a=1)},
            "edges": [{"from": "bad", "to": "next"}],
        },
        status="failed",
        states={"bad": "failed"},
    ),
    Scenario(
        "a failure that is handled",
        {
            "nodes": {"bad": tool("complain", message="no"), "mend": tool("plus", a=1)},
            "edges": [{"from": "bad", "to": "mend", "on": "failure"}],
        },
        output=11,
        states={"bad": "failed", "mend": "completed"},
    ),
    Scenario(
        "a router",
        {
            "nodes": {
                "way": {"type": "router", "config": WAYS},
                "big": tool("plus", a=5),
                "small": tool("plus", a=6),
            }
        },
        output={"big": 15},
        inputs={"n": 2},
        states={"small": "skipped"},
    ),
    Scenario(
        "all kinds of text", {"nodes": {"a": tool("give_back", value="{{v}}")}}, output=MIXED, inputs={"v": MIXED}
    ),
    Scenario("a large integer", {"nodes": {"a": tool("give_back", value="{{v}}")}}, output=2**70, inputs={"v": 2**70}),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One pool with an API for all scenarios."""
    with shared_api(tmp_path_factory, **WITH_TOOLS) as pool:
        yield pool


def plain(value: Any) -> Any:
    """A result without what differs from run to run."""
    varying = ("graph_id", "completed_at", "started_at", "metadata")
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if name not in varying}
    return value


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_is_the_same_by_every_way(shared: Pool, scenario: Scenario) -> None:
    """Submitted over HTTP and gRPC; followed by SSE, WebSocket and gRPC, and page by page."""
    with (
        httpx2.Client(base_url=shared.api_url, timeout=30) as http,
        grpc.insecure_channel(f"127.0.0.1:{shared.grpc_port}") as channel,
    ):
        stub: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]
        body = {"graph": scenario.graph, "inputs": scenario.inputs}
        over_http = http.post(f"{V1}/graphs", json=body).json()["graph_id"]
        request = messages.SubmitGraphRequest(
            graph_json=json.dumps(scenario.graph), inputs_json=json.dumps(scenario.inputs)
        )
        over_grpc = stub.SubmitGraph(request, timeout=30).graph_id
        results = []
        for graph_id in (over_http, over_grpc):
            log = [block.data for block in read(http, graph_id)]
            assert frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws") == (log, 1000)
            streamed = list(stub.StreamGraphEvents(messages.StreamGraphEventsRequest(graph_id=graph_id), timeout=30))
            assert [as_event(one) for one in streamed] == log
            assert http.get(f"{V1}/graphs/{graph_id}/events").json()["events"] == log
            assert log[-1]["type"] == f"graph.{scenario.status}"
            result = http.get(f"{V1}/graphs/{graph_id}/result").json()
            answer = stub.GetGraphResult(messages.GetGraphResultRequest(graph_id=graph_id), timeout=30)
            assert json.loads(answer.result_json) == result["result"]
            assert json.loads(answer.output_json) == result["output"] == scenario.output
            assert (answer.status, answer.error or None) == (result["status"], result["error"])
            status = stub.GetGraphStatus(messages.GetGraphStatusRequest(graph_id=graph_id), timeout=30)
            assert status.status == http.get(f"{V1}/graphs/{graph_id}/status").json()["status"] == scenario.status
            states = {name: state["status"] for name, state in result["result"].items()}
            assert scenario.states.items() <= states.items()
            results.append(plain(result))
        assert results[0] == results[1]


def as_event(one: Any) -> dict[str, Any]:
    """Write gRPC's event as the others have it."""
    node = {"node_id": one.node_id} if one.node_id else {}
    return {
        "id": one.id, "seq": one.seq, "type": one.type, "graph_id": one.graph_id, "execution_id": one.graph_id, **node,
        "timestamp": one.timestamp, "data": json.loads(one.data_json),
    }  # fmt: skip
