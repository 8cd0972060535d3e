"""What is counted, over both ports: each thing by the process that did it, so that no sum doubles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, wait_until
from tests.system.orchestrator.graphs import doubling, waiting

ENDED = "dago_graphs_completed_total"
ORIGINAL = {
    "dago_graphs_submitted", "dago_graphs_completed", "dago_graphs_failed", "dago_nodes_executed", "dago_nodes_failed",
    "dago_node_execution_duration_seconds", "dago_tool_executions", "dago_tool_failures", "dago_llm_calls",
    "dago_llm_tokens", "dago_worker_count", "dago_queue_depth", "dago_active_executions", "dago_worker_pool_idle",
    "dago_worker_pool_busy", "dago_worker_pool_stopped", "dago_graph_duration_seconds", "dago_node_duration_seconds",
    "dago_tool_duration_seconds", "dago_llm_latency_seconds", "dago_queue_wait_time_seconds",
}  # fmt: skip
Samples = dict[tuple[str, str], float]


def scraped(*pages: str) -> Samples:
    """Samples by name and labels, those of several ports added up as Prometheus would."""
    found: Samples = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for one in family.samples:
                key = one.name, " ".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
                found[key] = found.get(key, 0.0) + one.value
    return found


def failing() -> dict[str, Any]:
    """One node that fails."""
    config = {"tool_name": "complain", "tool_params": {"message": "no"}}
    return {"nodes": {"bad": {"type": "tool", "config": config}}}


def test_every_end_of_a_run_is_counted_once(api: Callable[..., Pool], tmp_path: Path) -> None:
    """By the worker, the keeper or the API that has committed it; the original's names are all there."""
    pool, gate = api(workers=1, **WITH_TOOLS), tmp_path / "gate"
    at_once = {
        "nodes": {"first": {"type": "start"}, "last": {"type": "end"}},
        "edges": [{"from": "first", "to": "last"}],
    }

    def pages() -> tuple[str, str]:
        return httpx2.get(f"{pool.api_url}/metrics", timeout=60).text, pool.get("/metrics").text

    with httpx2.Client(base_url=f"{pool.api_url}/api/v1", timeout=60) as http:

        def run(graph: dict[str, Any], wait: int = 10, **more: Any) -> str:
            body = {"graph": graph, **more}
            found: str = http.post("/graphs", json=body, headers={"Prefer": f"wait={wait}"}).json()["graph_id"]
            return found

        run(doubling(), inputs={"x": 1})
        run(at_once)
        run(failing())
        run(waiting(str(gate)), timeout=0.2)  # its worker is held until it is told to stop
        held = run(waiting(str(gate)), 0)
        assert http.post(f"/graphs/{held}/cancel").status_code == 200
        http.get(f"/graphs/{held}/status", params={"wait": 10})

    def counted() -> Samples:
        found = scraped(*pages())
        return found if found.get((ENDED, "status=cancelled")) else {}

    found = wait_until(counted, 10, "the cancelled run is counted")
    assert {status: found[ENDED, f"status={status}"] for status in ("completed", "failed", "cancelled")} == {
        "completed": 2, "failed": 2, "cancelled": 1,
    }  # fmt: skip
    assert found["dago_graphs_failed_total", ""] == 2
    wait_until(lambda: len(pool.seen("run.ended")) == 5, 10)
    told = pool.seen("run.ended")
    assert len({event["graph"] for event in told}) == 5, "one line a run"
    assert sorted(event["status"] for event in told) == ["cancelled", "completed", "completed", "failed", "failed"]
    assert found["dago_graph_duration_seconds_count", ""] == 5
    assert found["dago_graphs_submitted_total", "status=submitted"] == 5
    own, workers = pages()
    assert scraped(own)[ENDED, "status=completed"] == scraped(workers)[ENDED, "status=completed"] == 1
    both = {family.name for page in (own, workers) for family in text_string_to_metric_families(page)}
    assert both >= ORIGINAL
    nodes = scraped(workers)
    assert nodes["dago_nodes_failed_total", "node_type=tool"] >= 1
    assert (
        nodes["dago_node_duration_seconds_count", "node_type=tool"]
        == nodes["dago_node_execution_duration_seconds_count", ""]
    )
    assert not [key for key in scraped(own) if key[0].startswith("dago_node")]
