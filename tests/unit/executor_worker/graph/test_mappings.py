"""Inputs and outputs by the graph's own words."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.errors import TemplateError
from executor_worker.graph.definition import Graph
from executor_worker.graph.mappings import mapped_inputs, mapped_output, run_output
from executor_worker.nodes.templates import Scope

SCOPE = Scope({"q": "whales"}, {"a": {"items": [{"id": 7}]}, "skipped": None})


def test_mapped_values_are_laid_over_the_inputs() -> None:
    inputs = mapped_inputs(
        {"topic": "inputs.q", "first": "nodes.a.items.0", "q": "a.items.0.id"}, {"q": "x", "z": 1}, SCOPE
    )
    assert inputs == {"topic": "whales", "first": {"id": 7}, "q": 7, "z": 1}


def test_an_output_is_made_of_parts_of_what_came() -> None:
    output = {"content": "x", "list": [{"y": None}]}
    mapping = {"text": "content", "y": "list.0.y", "again": "output.content"}
    assert mapped_output(mapping, output) == {"text": "x", "y": None, "again": "x"}
    assert mapped_output({}, output) == output


@pytest.mark.parametrize("path", ["nothing", "list.3", "content.deeper", "list.x"])
def test_a_path_that_leads_nowhere_is_an_error(path: str) -> None:
    with pytest.raises(TemplateError, match=r"output_mapping\.t"):
        mapped_output({"t": path}, {"content": "x", "list": []})
    with pytest.raises(TemplateError):
        mapped_inputs({"t": path}, {}, SCOPE)


@pytest.mark.parametrize(
    ("nodes", "completed", "output"),
    [
        (["a"], {"a": 1}, 1),
        (["a"], {}, {}),
        (["a", "b"], {"a": 1, "b": None}, {"a": 1, "b": None}),
        (["a", "b"], {"b": 2}, {"b": 2}),
        (["a", "b"], {}, {}),
    ],
)
def test_without_an_output_a_run_answers_its_last_nodes(
    nodes: list[str], completed: dict[str, Any], output: Any
) -> None:
    graph = Graph.read({"nodes": {name: {} for name in nodes}})
    assert run_output(graph, completed, SCOPE) == output


def test_a_graphs_output_is_a_template_or_an_object_of_templates() -> None:
    one = Graph.read({"nodes": {"a": {}}, "output": "{{a.items}}"})
    many = Graph.read(
        {"nodes": {"a": {}}, "output": {"id": "{{a.items.0.id}}", "text": "{{q}}!", "none": "{{skipped}}"}}
    )
    assert run_output(one, {}, SCOPE) == [{"id": 7}]
    assert run_output(many, {}, SCOPE) == {"id": 7, "text": "whales!", "none": None}
