"""`failed`: nodes that have failed are found as long as their states are kept, and put up again as they came."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.contract.wire import Wire
from tests.kit.commands import run_program
from tests.system.graphs.conftest import Kernel


def command(wire: Wire, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"LLM_PROVIDER": "scripted", "HEALTH_PORT": "", **wire.server.env}
    return run_program("failed", *arguments, env=env, cwd=wire.pool.folder)


def listed(wire: Wire, *arguments: str) -> list[dict[str, Any]]:
    done = command(wire, "list", "--json", *arguments)
    assert done.returncode == 0, done
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def needing(path: str) -> dict[str, Any]:
    return {"tool_name": "fail_unless", "tool_params": {"path": path}}


def test_failed_nodes_are_listed_by_graph_code_and_age(wire: Wire) -> None:
    """With their code and what was said, as JSON and in columns."""
    graph = wire.new_graph()
    for node, config in (("a", needing("/nowhere")), ("b", {"tool_name": "none-such"})):
        wire.add({"graph_id": graph, "node_id": node, "config": config, "inputs": {}})
    wire.wait_result(graph, 2)
    found = {one["node_id"]: one["error_code"] for one in listed(wire, "--graph", graph)}
    assert found == {"a": "tool_failed", "b": "unknown_tool"}
    assert [one["node_id"] for one in listed(wire, "--graph", graph, "--code", "unknown_tool", "--since", "1h")] == [
        "b"
    ]
    assert listed(wire, "--graph", graph, "--since", "1ms") == []
    assert graph in {one["graph_id"] for one in listed(wire)}
    shown = json.loads(command(wire, "show", graph, "a").stdout)
    assert shown["state"]["status"] == "failed" and "not there" in shown["error"] and shown["run"] is False
    head, *rows = command(wire, "list", "--graph", graph).stdout.splitlines()
    assert head.split()[:2] == ["GRAPH", "NODE"] and len(rows) == 2


def test_failed_node_runs_again_as_its_item_came(wire: Wire) -> None:
    """Though its config came with the item alone; nothing else of its graph is touched."""
    graph, mark = wire.new_graph(), wire.pool.folder / "again"
    wire.put_state(graph, inputs={"path": str(mark)}, node_states={"other": {"status": "failed"}})
    item = {"graph_id": graph, "node_id": "n", "config": needing("{{path}}"), "more": 1}
    wire.add({"id": graph, "type": "node.work", "data": item})
    assert wire.wait_result(graph)["data"]["error_code"] == "tool_failed"
    mark.touch()
    done = command(wire, "retry", graph, "n")
    assert done.returncode == 0 and f"{graph} n is put up again as" in done.stdout, done
    assert wire.wait_result(graph, 2)["type"] in ("node.completed", "node.failed")
    assert wire.node_state(graph)["output"] == "there"
    assert wire.state(graph)["node_states"]["other"] == {"status": "failed"}
    gone = command(wire, "retry", graph, "n")
    assert gone.returncode == 1 and "has no failed node 'n'" in gone.stderr


def test_all_of_one_code_run_again(wire: Wire) -> None:
    """Those that failed otherwise stay as they are."""
    mark = wire.pool.folder / "all"
    graphs = [wire.new_graph() for _ in range(3)]
    for graph in graphs:
        wire.add({"graph_id": graph, "node_id": "n", "config": needing(str(mark)), "inputs": {}})
        wire.wait_result(graph)
    other = wire.new_graph()
    wire.add({"graph_id": other, "node_id": "n", "config": {"tool_name": "none-such"}, "inputs": {}})
    wire.wait_result(other)
    mark.touch()
    done = command(wire, "retry", "--code", "tool_failed", "--all")
    assert done.returncode == 0, done
    for graph in graphs:
        wire.wait_result(graph, 2)
        assert wire.node_state(graph)["status"] == "completed"
    assert wire.node_state(other)["error"] and len(wire.results(other)) == 1


def test_failed_node_of_a_run_retries_the_run(wire: Wire) -> None:
    """A new epoch: what completed stays."""
    mark = wire.pool.folder / "run"
    kernel = Kernel(wire.server)
    nodes = {
        "a": {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1"}}},
        "b": {"type": "tool", "config": needing(str(mark))},
    }
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "b"}]})
    assert kernel.wait(run)["status"] == "failed"
    assert [one["run"] for one in listed(wire, "--graph", run)] == [True]
    mark.touch()
    done = command(wire, "retry", run, "b")
    assert done.returncode == 0 and "epoch 2" in done.stdout, done
    assert kernel.wait(run)["status"] == "completed"
    kernel.link.close()


@pytest.mark.parametrize(
    "arguments", [("retry",), ("retry", "g"), ("retry", "g", "n", "--all"), ("retry", "--code", "x")]
)
def test_half_a_choice_is_wrong_usage(wire: Wire, arguments: tuple[str, ...]) -> None:
    """Neither all by mistake, nor nothing."""
    assert command(wire, *arguments).returncode == 2
