"""A graph compiled for running it: what is read for a node when it starts."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.graph.definition import Graph
from executor_worker.graph.plan import compile_graph

TOOL = {"tool_name": "t", "tool_params": {"x": 1}}


@pytest.mark.parametrize(
    ("node", "edge", "seen"),
    [
        ({"type": "tool", "config": TOOL}, {}, False),
        ({"type": "tool", "config": {"tool_name": "t", "tool_params": {"x": ["{{q}}"]}}}, {}, True),
        ({"type": "tool", "config": TOOL}, {"condition": "inputs.q == 1"}, True),
        ({"type": "tool", "config": TOOL, "input_mapping": {"p": "inputs.q"}}, {}, True),
        ({"type": "agent", "config": {"model": "m", "tools": ["t"]}}, {}, True),
        ({"type": "agent", "config": {"model": "m", "tools": ["t"], "task": "Look."}}, {}, False),
        ({"type": "router", "config": {"rules": [{"condition": "true", "target": "z"}]}}, {}, True),
    ],
)
def test_the_inputs_come_with_a_node_that_may_see_them(node: dict[str, Any], edge: dict[str, Any], seen: bool) -> None:
    document = {
        "nodes": {"x": node, "z": {"type": "tool", "config": TOOL}},
        "edges": [{"from": "x", "to": "z", **edge}],
    }
    assert compile_graph(Graph.read(document)).places["x"].inputs is seen
