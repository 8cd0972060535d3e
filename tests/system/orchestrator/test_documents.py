"""A run as others read it while it goes on: its document in Redis and over HTTP, its trace, its log in parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, wait_until
from tests.system.orchestrator.graphs import waiting

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_run_is_whole_from_the_start(api: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path) -> None:
    """Its document is there with the answer; statuses are those of the state document; its log can be read by types."""
    pool, gate, redis = api(workers=1, **WITH_TOOLS), tmp_path / "gate", redis_server.client()
    graph = waiting(str(gate))
    calculate = {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1"}}}
    graph["nodes"] = {"first": {"type": "start"}, **graph["nodes"], "queued": calculate, "after": calculate}
    graph["edges"] = [
        {"from": "first", "to": "wait"},
        {"from": "first", "to": "queued"},
        {"from": "wait", "to": "after"},
    ]
    with httpx2.Client(base_url=f"{pool.api_url}/api/v1", timeout=60) as http:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        answer = http.post("/graphs", json={"graph": graph, "inputs": {"n": 1}}, headers=headers).json()
        graph_id = answer["graph_id"]
        stored = json.loads(redis.get(f"dago:state:{graph_id}") or b"")
        assert (stored["submitted_at"], stored["inputs"]) == (answer["submitted_at"], {"n": 1})
        assert {state["status"] for state in stored["node_states"].values()} == {"pending"}
        wait_until(
            lambda: http.get(f"/graphs/{graph_id}").json()["node_states"]["wait"]["status"] == "running", 10, "it runs"
        )
        run = http.get(f"/graphs/{graph_id}").json()
        assert run["trace_id"] == TRACE
        assert {name: state["status"] for name, state in run["node_states"].items()} == {
            "first": "completed", "wait": "running", "queued": "pending", "after": "pending",
        }  # fmt: skip
        assert {node["id"]: node["waiting_for"] for node in run["nodes"]} == {
            "first": [], "wait": [], "queued": ["a worker"], "after": ["wait"],
        }  # fmt: skip
        assert run["nodes"][0]["started_at"] == run["nodes"][0]["completed_at"] == run["submitted_at"]
        gate.touch()
        http.get(f"/graphs/{graph_id}/status", params={"wait": 10})
        ended = json.loads(redis.get(f"dago:state:{graph_id}") or b"")
        assert ended["node_states"] == http.get(f"/graphs/{graph_id}").json()["node_states"]
        asked: dict[str, str | int] = {"types": "node_completed", "limit": 2}
        first = http.get(f"/graphs/{graph_id}/events", params=asked).json()
        rest = http.get(f"/graphs/{graph_id}/events", params=asked | {"after": first["next_after"]}).json()
        assert [len(first["events"]), len(rest["events"])] == [2, 2] and not first["ended"]
        last = http.get(f"/graphs/{graph_id}/events", params=asked | {"after": rest["next_after"]}).json()
        assert (last["events"], last["ended"]) == ([], True) or rest["ended"]
        begun = http.post("/graphs", json={"graph": {"nodes": {"a": {"type": "start"}}}}).json()["graph_id"]
        assert len(http.get(f"/graphs/{begun}").json()["trace_id"]) == 32
