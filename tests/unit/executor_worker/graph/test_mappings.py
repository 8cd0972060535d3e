"""Inputs and outputs by the graph's own words."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.errors import TemplateError
from executor_worker.graph.mappings import filled, mapped_inputs, mapped_output
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


def test_a_graphs_output_is_a_template_or_an_object_of_templates() -> None:
    many = {"id": "{{a.items.0.id}}", "text": "{{q}}!", "none": "{{skipped}}"}
    assert filled("{{a.items}}", lambda part: SCOPE.value(part, "output")) == ([{"id": 7}], {})
    output = {"id": 7, "text": "whales!", "none": None}
    assert filled(many, lambda part: SCOPE.value(part, "output")) == (output, {})


def test_what_of_an_output_can_not_be_made_is_null_and_told() -> None:
    """All else of it is there, at any depth; each place says why."""
    template = {"id": "{{a.items.0.id}}", "in": [{"bad": "{{a.nothing}}"}, "{{q}}"], "worse": "x {{unknown}}"}
    output, wrong = filled(template, lambda part: SCOPE.value(part, "output"))
    assert output == {"id": 7, "in": [{"bad": None}, "whales"], "worse": None}
    assert list(wrong) == ["output.in[0].bad", "output.worse"]
    assert wrong["output.worse"].startswith("unknown name {{unknown}}; known are")
    assert filled("{{q}}", lambda part: SCOPE.value(part, "output")) == ("whales", {})


def test_reasons_for_an_output_that_can_not_be_made_are_bounded() -> None:
    template = {f"{number:03}" + "k" * 1000: "{{" + "n" * 1000 + "}}" for number in range(100)}
    output, wrong = filled(template, lambda part: SCOPE.value(part, "output"))
    assert set(output) == set(template) and set(output.values()) == {None}
    assert len(wrong) == 20 and sum(map(len, (*wrong, *wrong.values()))) < 20_000
    deep: Any = "{{unknown}}"
    for _ in range(100):
        deep = [deep]
    assert filled(deep, lambda part: SCOPE.value(part, "output"))[1].keys() == {"output" + "[0]" * 20}
