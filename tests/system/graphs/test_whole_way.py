"""A graph from its submission to its end, run by the real program."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.kit import Pool, RedisServer
from tests.system.graphs.conftest import Kernel, calc

JOIN = {
    "nodes": {"a": calc("{{x}} + 1"), "b": calc("{{x}} * 10"), "sum": calc("{{a}} + {{b}}")},
    "edges": [{"from": "a", "to": "sum"}, {"from": "b", "to": "sum"}],
}


def test_three_nodes_with_a_join_run_to_their_end(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Submitted, both branches run, the join sees both outputs, the run completes with its last output."""
    executor(redis_server, workers=2)
    run = kernel.submit(JOIN, {"x": 4})
    result = kernel.wait(run)
    assert result["status"] == "completed", result
    assert {name: node["output"] for name, node in result["result"].items()} == {"a": 5, "b": 40, "sum": 45}
    assert result["output"] == 45
    events = kernel.events(run)
    assert [event["type"] for event in events[:3]] == ["graph.submitted", "node.queued", "node.queued"]
    assert events[-1]["type"] == "graph.completed"
    document = json.loads(redis_server.client().get(f"dago:state:{run}") or b"")
    assert document["node_states"] == result["result"] and document["output"] == 45 and document["graph"] == JOIN
    assert {**document, "seq": len(events)} == kernel.document(run)
