"""What a node mentions is what is read for it; templates are split as the renderer splits them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.graph.definition import LocatedGraph
from executor_worker.graph.problems import Problems
from executor_worker.graph.references import Needs, condition_needs, needs_of
from executor_worker.graph.template_names import names_in
from executor_worker.nodes import templates

IDS = dict.fromkeys(["a", "b", "c", "long name"])


def needs(node: dict[str, Any]) -> Needs:
    located = LocatedGraph.read({"nodes": {"x": node}}, Problems()).nodes["x"]
    return needs_of(located.node, IDS, located.routing)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"prompt": "{{a.text}} {{nodes.b}} {{question}} {{inputs.c}}"}, Needs(frozenset("ab"))),
        ({"tool_name": "t", "tool_params": {"x": [{"y": "{{long name.z}}"}], "z": 1}}, Needs(frozenset({"long name"}))),
        ({"prompt": "{{nodes}}"}, Needs(whole_past=True)),
        ({"model": "m", "tools": ["t"]}, Needs(parents=True)),
        ({"model": "m", "tools": ["t"], "task": "{{a}}"}, Needs(frozenset("a"))),
        ({"tool_name": "t", "model": "{{a}}"}, Needs(inputs=False)),
        ({"prompt": "Tell a joke."}, Needs(inputs=False)),
        ({"llm_config": {"prompt": "Tell a joke."}}, Needs(inputs=False)),
        ({"prompt": " \n"}, Needs()),
        ({"tool_name": "t", "extract_params": {"from": "", "llm_config": {"model": "m"}}}, Needs()),
        ({"tool_name": "t", "input_mapping": {"q": "nodes.a.items.0"}}, Needs(frozenset("a"))),
        (
            {"tool_name": "t", "extract_params": {"from": "{{a}}", "llm_config": {"system": "{{b}}"}}},
            Needs(frozenset("ab")),
        ),
        ({"tool_name": "t", "cache": {"ttl": 5, "key": "{{c.id}}"}}, Needs(frozenset("c"))),
        (
            {
                "type": "router",
                "rules": [{"condition": "nodes.a.x > 1 || state.node_states.b.status == 'failed'", "target": "c"}],
            },
            Needs(frozenset("ab")),
        ),
        ({"type": "router", "rules": [{"condition": "'a' in nodes", "target": "c"}]}, Needs(whole_past=True)),
        (
            {
                "type": "router",
                "prompt_template": "{{#each a.items}}{{this}} {{b}}{{/each}} {{#if c}}{{/if}}",
                "routes": {"y": "c"},
            },
            Needs(frozenset("ac")),
        ),
    ],
)
def test_a_node_needs_what_it_mentions(node: dict[str, Any], expected: Needs) -> None:
    assert needs(node) == expected


def test_a_condition_needs_its_source_only_where_it_names_its_output() -> None:
    assert condition_needs("output.x > 1 && nodes.b.y", "a", IDS) == Needs(frozenset("ab"))
    assert condition_needs("inputs.x > 1", "a", IDS) == Needs()


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", "a", "b.c", " ", "\n"]), max_size=30).map("".join))
def test_templates_are_split_as_the_renderer_splits_them(template: str) -> None:
    theirs = [part.text for part in templates._split(template) if not isinstance(part, str)]
    assert list(names_in(template)) == list(dict.fromkeys(theirs))
