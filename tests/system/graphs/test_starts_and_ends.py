"""What nodes that take no worker have for output, and whom a cascade has skipped, is seen by all that come after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Pool, RedisServer
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool


def test_outputs_of_start_and_end_are_seen(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """In templates, rules, conditions, and the run's own output; of an end with conditions behind it too."""
    executor(redis_server, workers=1, **TOOLS)
    nodes = {
        "s": {"type": "start"},
        "r": {"type": "router", "config": {"rules": [{"condition": "nodes.s.q == 1", "target": "a"}], "fallback": "z"}},
        "a": tool("passes", value="{{s.q}}"),
        "x": {"type": "end"},
        "b": tool("passes", value="{{x}}"),
        "y": {"type": "end"},
        "z": tool("passes"),
    }
    edges = [
        {"from": "s", "to": "r"},
        {"from": "a", "to": "x"},
        {"from": "x", "to": "b", "condition": "output == 1"},
        {"from": "b", "to": "y"},
    ]
    graph = {"nodes": nodes, "edges": edges, "output": {"s": "{{s}}", "x": "{{x}}", "y": "{{y}}"}}
    result = kernel.wait(kernel.submit(graph, {"q": 1}))
    assert result["output"] == {"s": {"q": 1}, "x": 1, "y": 1}
    assert result["result"]["z"]["status"] == "skipped"


@pytest.mark.parametrize("join", ["any", "all"])
@pytest.mark.parametrize("rule", ["state.node_states.k.status == 'skipped'", "nodes.s.q == 1 && nodes.k == null"])
def test_rules_see_what_ended_in_the_same_step(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, join: str, rule: str
) -> None:
    """The router is decided by the step that has skipped one of its past."""
    executor(redis_server, workers=1)
    router: dict[str, Any] = {"rules": [{"condition": rule, "target": "yes"}], "fallback": "no"}
    nodes = {
        "s": {"type": "start"},
        "a": calc("1"),
        "k": calc("2"),
        "r": {"type": "router", "join": join, "config": router},
        "yes": calc("1"),
        "no": calc("0"),
    }
    edges = [{"from": "s", "to": "a"}, {"from": "a", "to": "k", "condition": "false"}]
    edges += [{"from": "a", "to": "r"}, {"from": "k", "to": "r"}]
    run = kernel.submit({"nodes": nodes, "edges": edges}, {"q": 1})
    assert kernel.wait(run)["result"]["r"]["output"]["target"] == "yes"


@pytest.mark.parametrize("value", ["{{slow}}", "{{inputs.q}}"])
def test_node_behind_any_sees_as_null_what_still_runs(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path, value: str
) -> None:
    """Its template names it, or only the condition behind it does; also when it ends meanwhile."""
    executor(redis_server, workers=2, **TOOLS)
    gate = folder / "open"
    nodes = {
        "slow": tool("waits_for", file=str(gate)),
        "quick": calc("1"),
        "first": {**tool("passes", value=value), "join": "any", "on_failure": "continue"},
        "opens": tool("noted", file=str(gate)),
        "null": {"type": "end"},
    }
    edges = [
        {"from": "slow", "to": "first"},
        {"from": "quick", "to": "first"},
        {"from": "first", "to": "opens", "on": "always"},
        {"from": "first", "to": "null", "on": "always", "condition": "nodes.slow == null"},
    ]
    result = kernel.wait(kernel.submit({"nodes": nodes, "edges": edges}, {"q": None}))
    assert result["status"] == "completed" and result["result"]["slow"]["output"] == "there"
    first = result["result"]["first"]
    assert (first["status"], first["output"]) == ("completed", None)
    assert result["result"]["null"]["status"] == "completed"
