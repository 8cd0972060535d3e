"""Unknown fields of items, and what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.cli import unknown_fields as known
from executor_worker.cli.unknown_fields import unknown_fields
from executor_worker.errors import InvalidNode
from executor_worker.nodes import spec


def item(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"graph_id": "g", "node_id": "n", "config": config, **more}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (item({"tool_nmae": "x"}), "config.tool_nmae is not a field and is ignored; did you mean tool_name?"),
        (item({"llm_config": {"tempreature": 1}}), "config.llm_config.tempreature … did you mean temperature?"),
        (item({"llm_config": {"tools": []}}), "config.llm_config.tools … did you mean it to stand in config?"),
        (item({"llm_config": {"max_iteration": 1}}), "config.llm_config.max_iteration … max_iterations in config?"),
        (item({"budget": {"tokens": 1}}), "config.budget.tokens … did you mean total_tokens?"),
        (item({"extract_params": {"form": "x"}}), "config.extract_params.form … did you mean from?"),
        (item({"extract_params": {"llm_config": {"modle": "x"}}}), "config.extract_params.llm_config.modle … model?"),
        (item({"fallbacks": ["a", {"modell": "x"}]}), "config.fallbacks[1].modell … did you mean model?"),
        (item({"arguments": {}}), "config.arguments … did you mean tool_params?"),
        (item({"inputs": {}}), "config.inputs … did you mean it to stand in the item?"),
        (item({"Tool-Name": "x"}), "config.Tool-Name … did you mean tool_name?"),
        (item({}, tool_name="x"), "tool_name … did you mean it to stand in config?"),
        (item({}, dead_line="x"), "dead_line … did you mean deadline?"),
        ({"id": "w", "data": {"graph_id": "g", "node_id": "n", "stat": {}}}, "data.stat … did you mean state?"),
        ({"ids": "w", "data": {"graph_id": "g", "node_id": "n"}}, "ids … did you mean id?"),
        (item({"zzzzzz": 1}), "config.zzzzzz is not a field and is ignored."),
    ],
)
def test_an_unknown_field_is_told_with_what_was_meant(document: Any, said: str) -> None:
    """Wherever in the item it stands; also where it is right but in the wrong place."""
    (sentence,) = unknown_fields(document)
    for part in said.split(" … "):
        assert part in sentence


@pytest.mark.parametrize(
    "document",
    [
        3,
        [],
        item({"tool_name": "x", "tool_params": {"anything": 1}}, dependencies=[], execution_id="e", metadata={"a": 1}),
        item({"prompt": "p", "llm_config": {"output_schema": {"anything": 1}}, "_note": "mine", "description": "d"}),
        item({"budget": 3, "fallbacks": "x", "extract_params": [], "llm_config": None}),
        {"id": "w", "type": "node.work", "timestamp": "t", "execution_id": "e", "data": {"graph_id": "g", "state": {}}},
    ],
)
def test_what_is_known_or_for_people_is_not_told(document: Any) -> None:
    """Nor what is wrong otherwise."""
    assert unknown_fields(document) == []


def test_once_takes_more_forms() -> None:
    """A graph's node and a bare config have their own fields."""
    node = {"id": "n", "type": "tool", "config": {}, "retry": {}, "on_failure": "fail"}
    assert unknown_fields(node, run=True) == []
    assert "on_failure is not a field" in unknown_fields(item({}, on_failure="fail"), run=True)[0]
    assert "tol_params is not a field" in unknown_fields({"tool_name": "x", "tol_params": {}}, run=True)[0]


class Read(dict[str, Any]):
    """A config that writes down what was looked for in it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.seen.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.seen.add(name)
        return super().__getitem__(name)


def test_all_that_is_read_is_known() -> None:
    """By any mode, at any level; the tables here can't fall behind."""
    model, budget, extract = Read({"model": "m"}), Read({"usd": 1}), Read({"from": "x", "llm_config": Read()})
    configs = [
        Read({"tool_name": "t", "extract_params": extract}),
        Read({"llm_config": model}),
        Read({"llm_config": {}, "tools": ["a"], "budget": budget}),
        Read({}),
        Read({"prompt": "p"}),
    ]
    for config in configs:
        try:
            spec.read(config)
        except InvalidNode:
            continue
    assert set().union(*(config.seen for config in configs)) <= known.CONFIG
    assert known.CONFIG - set().union(*(config.seen for config in configs)) <= {"queue", "retry"}
    assert model.seen == set(known.MODEL)
    assert (budget.seen, extract.seen) == (set(known.BUDGET), set(known.EXTRACT))
