"""The published schema takes exactly the documents whose shape reading takes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor_worker.graph import fields
from executor_worker.graph.problems import Problems
from executor_worker.graph.schema import schema
from tests.kit.effort import tries

JSONSchema = jsonschema.Draft202012Validator(schema())

ODD = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        2,
        -1,
        1.0,
        1.5,
        0.5,
        "",
        "a",
        "b",
        "all",
        "any",
        "x.y",
        "a\n",
        "é" * 128,
        "é" * 129,
        "90s",
        "5m",
        "0s",
        "1h30m",
        "soon",
        "success",
        "always",
        "fail",
        "continue",
        "finish",
        "llm",
        "router",
        "map",
        "nothing",
        [],
        {},
        ["a"],
        [1],
        {"a": 1},
        {"a": "b"},
    ]
)
RETRY = st.fixed_dictionaries({}, optional=dict.fromkeys(("max_attempts", "delay", "backoff", "max_delay", "on"), ODD))
NODE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(fields.LISTED_NODE.fields, ODD),
        "retry": RETRY | ODD,
        "cache": st.fixed_dictionaries({}, optional={"ttl": ODD, "key": ODD}) | ODD,
        "dependencies": st.lists(ODD, max_size=2) | ODD,
        "unknown": ODD,
    },
)
EDGE = st.fixed_dictionaries({}, optional=dict.fromkeys(fields.EDGE.fields, ODD))
IDS = st.sampled_from(["a", "b", "", "a.b", "a/b", "x" * 129, "a b", "\x7f", "a\n"])
GRAPH = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(fields.GRAPH.fields, ODD),
        "nodes": st.dictionaries(IDS, NODE | ODD, max_size=2) | st.lists(NODE | ODD, max_size=2) | ODD,
        "edges": st.lists(EDGE | ODD, max_size=2) | ODD,
    },
)


def takes(document: Any) -> bool:
    problems = Problems()
    fields.GRAPH.check(document, None, problems)
    return not len(problems)


@settings(max_examples=tries(400), deadline=None)
@given(GRAPH | ODD)
def test_the_schema_takes_what_reading_takes(document: Any) -> None:
    assert JSONSchema.is_valid(document) == takes(document)


@pytest.mark.parametrize(
    "name", [*fields.GRAPH.fields, "nodes.a", *(f"nodes.a.{name}" for name in fields.LISTED_NODE.fields)]
)
@pytest.mark.parametrize("value", [None, 1, 1.5, True, "a", "success", "90s", [], ["a"], {}, {"a": {}}, {"ttl": 1}])
def test_each_field_takes_the_same_values_in_both(name: str, value: Any) -> None:
    document: dict[str, Any] = {"nodes": {"a": {}}}
    inside = document
    *path, last = name.split(".")
    for part in path:
        inside = inside[part]
    inside[last] = value
    assert JSONSchema.is_valid(document) == takes(document)


def test_the_schema_is_one_and_json() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


def test_every_field_is_described() -> None:
    described = schema()["properties"]
    assert all(described[name].get("description") for name in described if name not in ("nodes", "entry_point"))
