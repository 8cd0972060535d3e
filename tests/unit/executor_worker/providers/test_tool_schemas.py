"""Tools' schemas in the form that models' APIs take, and the arguments on their way back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from executor_worker.providers.base import ModelReply, ToolCall, ToolSpec
from executor_worker.providers.declared_tools import DeclaredTools
from executor_worker.providers.openai_chat import OpenAIChat
from executor_worker.providers.retries import Retries
from executor_worker.providers.tool_schemas import declared
from tests.unit.executor_worker.providers.dialects import Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, Handler, failure, page, stream

A: dict[str, Any] = {"type": "string"}
B: dict[str, Any] = {"type": "integer"}
WITH_A: dict[str, Any] = {"properties": {"a": A}, "required": ["a"]}
WITH_B: dict[str, Any] = {"properties": {"b": B}, "required": ["b"]}

SHAPES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "object": {"type": "object"},
    "properties": {"type": "object", "properties": {"a": A, "b": B}},
    "no type": {"properties": {"a": A, "b": B}},
    "several types": {"type": ["object", "null"], "properties": {"a": A, "b": B}},
    "another type": {"type": "string"},
    "anyOf": {"type": "object", "anyOf": [WITH_A, WITH_B]},
    "oneOf": {"oneOf": [{"type": "object", **WITH_A}, {"type": "object", **WITH_B}]},
    "allOf": {"allOf": [WITH_A, WITH_B]},
    "anyOf beside properties": {"properties": {"a": A, "b": B}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    "alternatives in alternatives": {"anyOf": [{"oneOf": [WITH_A, WITH_B]}, {"type": "null"}]},
    "enum": {"enum": [{"a": "x", "b": 1}, {"a": "y", "b": 2}]},
    "const": {"const": {"a": "x", "b": 1}},
    "not": {"properties": {"a": A, "b": B}, "not": {"required": ["a", "b"]}},
    "if": {"properties": {"a": A, "b": B}, "if": {"required": ["a"]}, "then": {"required": ["b"]}},
    "reference": {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object", "properties": {"a": A, "b": B}}}},
    "references in branches": {
        "oneOf": [{"$ref": "#/definitions/x"}, {"$ref": "#/definitions/y"}],
        "definitions": {"x": WITH_A, "y": WITH_B},
    },
    "reference into a branch": {"anyOf": [WITH_A, {"properties": {"b": {"$ref": "#/anyOf/0/properties/a"}}}]},
    "recursive": {"anyOf": [WITH_A, {"properties": {"b": {"$ref": "#"}}}, {"$ref": "#"}]},
    "dependent": {"properties": {"a": A, "b": B}, "dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": WITH_B}},
    "open": {"properties": {"a": A, "b": B}, "patternProperties": {"^x": {}}, "additionalProperties": B},
    "closed too early": {"additionalProperties": False, "oneOf": [WITH_A, WITH_B]},
    "draft 4": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"type": "array", "items": [A]}, "b": {"minimum": 1, "exclusiveMinimum": True}},
    },
    "draft 3": {"properties": {"a": {"type": "string", "required": True}, "b": {"type": "array"}}},
    "odd names": {"properties": {"a": A, "b": B, "filter[id]": A, "$filter": A}, "required": ["filter[id]"]},
    "odd names inside": {"anyOf": [WITH_A, {"properties": {"b": {"properties": {"größe": A}, "required": ["größe"]}}}]},
}
FORBIDDEN = ("anyOf", "oneOf", "allOf", "enum", "const", "not", "$ref", "$schema")


def refused(schema: dict[str, Any], *, plain_names: bool) -> str:
    """Judge *schema* as the APIs do; empty if they take it."""
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        return "it is no object"
    if standing := [word for word in FORBIDDEN if word in schema]:
        return f"{standing} at the top"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"no valid draft 2020-12: {error.message}"
    return next((problem for part in _parts(schema) if (problem := _refused_part(part, plain_names))), "")


def _refused_part(part: dict[str, Any], plain_names: bool) -> str:
    names = part.get("properties", {}) if isinstance(part.get("properties", {}), dict) else {}
    if plain_names and (odd := [name for name in names if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name)]):
        return f"properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{{1,64}}$': {odd}"
    return "array schema missing items" if part.get("type") == "array" and "items" not in part else ""


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left += part.values()
        elif isinstance(part, list):
            left += part


def complete(dialect: Dialect, faulty: FaultServer, tool: ToolSpec, **fields: Any) -> ModelReply:
    provider = dialect.provider(faulty.url)
    try:
        return provider.complete(asked(tools=(tool,), **fields), run_context())
    finally:
        provider.close()


def sent_tool(dialect: Dialect, faulty: FaultServer) -> tuple[str, dict[str, Any]]:
    """What the model was told of the one tool, in the last request: its description and schema."""
    (tool,) = faulty.requests[-1]["tools"]
    about = tool if dialect.name == "anthropic" else tool["function"]
    return about["description"], about["input_schema" if dialect.name == "anthropic" else "parameters"]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_schema_is_taken(shape: str, dialect: Dialect, faulty: FaultServer) -> None:
    """An object at the top that names all the properties there are, whatever the branches they stood in."""
    faulty.will(stream(dialect.begin(), dialect.text("ok"), dialect.end()))
    complete(dialect, faulty, ToolSpec("t", "Do it", SHAPES[shape]))
    description, schema = sent_tool(dialect, faulty)
    assert refused(schema, plain_names=dialect.name == "anthropic") == ""
    assert description.startswith("Do it")
    if shape not in ("nothing", "object", "another type"):
        assert {"a", "b"} <= schema["properties"].keys()


def test_a_schema_nested_beyond_measure_is_sent_as_an_open_object() -> None:
    """The provider would not take it either; the call is checked against the whole."""
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"properties": {"a": deep}}
    assert declared(deep, plain_names=True).parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("shape", "required", "rule"),
    [
        ("anyOf", None, "at least one"),
        ("oneOf", None, "exactly one"),
        ("allOf", ["a", "b"], None),
        ("anyOf beside properties", None, "at least one"),
        ("enum", ["a", "b"], "one of"),
        ("const", ["a", "b"], "must be"),
        ("not", None, "must not"),
        ("properties", None, None),
        ("references in branches", None, "exactly one"),
    ],
)
def test_what_is_lost_at_the_top_is_said(shape: str, required: list[str] | None, rule: str | None) -> None:
    """What is required in any case stays; the rest is a sentence."""
    done = declared(SHAPES[shape], plain_names=False)
    assert done.parameters.get("required") == required
    assert rule in done.rule if rule else done.rule == ""


def test_branches_that_differ_in_a_property_allow_each_way() -> None:
    """Alternatives of one property may stand inside; of a property that all must follow each holds."""
    ways = [{"properties": {"kind": {"const": kind}}, "required": ["kind"]} for kind in ("x", "y")]
    done = declared({"oneOf": ways}, plain_names=False).parameters
    assert done["properties"] == {"kind": {"anyOf": [{"const": "x"}, {"const": "y"}]}}
    assert done["required"] == ["kind"]
    both = {"properties": {"a": A}, "allOf": [{"properties": {"a": {"maxLength": 3}}}]}
    assert declared(both, plain_names=False).parameters["properties"] == {"a": {"allOf": [A, {"maxLength": 3}]}}


def test_many_branches_are_told_in_short() -> None:
    """A rule is no novel."""
    branches = [{"properties": {f"p{n}": {"description": "x" * 99}}, "required": [f"p{n}"]} for n in range(20)]
    done = declared({"oneOf": branches}, plain_names=False)
    assert len(done.rule) <= 700
    assert "exactly one" in done.rule
    assert "{p0}, {p1}" in done.rule
    assert len(done.parameters["properties"]) == 20


ODD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "filter[id]": A,
        "$filter": {"type": "string", "description": "OData"},
        "x" * 80: B,
        "filter_id_": B,
        "plain": {"type": "object", "properties": {"in side": {"$ref": "#/properties/filter[id]"}}},
        "many": {"type": "array", "items": {"anyOf": [{"properties": {"@type": A}}, {"type": "null"}]}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"größe": B}}},
    },
    "required": ["filter[id]", "plain"],
    "dependentRequired": {"$filter": ["filter[id]"]},
}


def test_property_names_go_there_and_back(dialect: Dialect, faulty: FaultServer) -> None:
    """The model is told of names the API takes, the tool is called with its own, however deep they lie."""
    own = {
        "filter[id]": "1",
        "$filter": "a eq 1",
        "x" * 80: 1,
        "filter_id_": 2,
        "plain": {"in side": "s", "in_side": "free"},
        "many": [{"@type": "t"}, None],
        "map": {"größe": {"größe": 3}},
    }
    tool = ToolSpec("find", "Find", ODD)
    if dialect.name == "openai":
        faulty.will(stream(dialect.calling(("find", json.dumps(own)))))
        assert complete(dialect, faulty, tool).tool_calls == (ToolCall("t0", "find", own),)
        assert sent_tool(dialect, faulty)[1] == ODD, "OpenAI takes any name"
        return
    schema = DeclaredTools([tool], longest_name=64, plain_names=True).form(schema="s")[0]["s"]
    assert refused(schema, plain_names=True) == ""
    wires = {json.loads(part["description"].split(": ")[0].removeprefix("Named ")): name
             for name, part in schema["properties"].items() if "Named" in part.get("description", "")}  # fmt: skip
    assert wires.keys() == {"filter[id]", "$filter", "x" * 80}
    assert schema["required"] == [wires["filter[id]"], "plain"]
    assert schema["dependentRequired"] == {wires["$filter"]: [wires["filter[id]"]]}
    given = {
        wires["filter[id]"]: "1",
        wires["$filter"]: "a eq 1",
        wires["x" * 80]: 1,
        "filter_id_": 2,
        "plain": {"in_side": "s"},
        "many": [{"_type": "t"}, None],
        "map": {"größe": {"gr__e": 3}},
    }
    jsonschema.validate(given, schema)
    faulty.will(stream(dialect.calling(("find", json.dumps(given)))))
    (made,) = complete(dialect, faulty, tool).tool_calls
    assert made.arguments == {**own, "plain": {"in side": "s"}}
    jsonschema.validate(made.arguments, ODD)


def test_a_server_that_refuses_odd_names_gets_plain_ones(faulty: FaultServer) -> None:
    """Anthropic behind a compatible endpoint: found out by its first refusal."""
    dialect = Dialect("openai")

    def judge(handler: Handler) -> None:
        problem = refused(handler.body["tools"][0]["function"]["parameters"], plain_names=True)
        said = f"tools.0.custom.input_schema.{problem}"
        (failure(400, "invalid_request_error", said) if problem else stream(dialect.calling(("t", '{"_top": "1"}'))))(
            handler
        )

    faulty.will(judge)
    tool = ToolSpec("t", "", {"properties": {"$top": A}})
    assert complete(dialect, faulty, tool).tool_calls == (ToolCall("t0", "t", {"$top": "1"}),)
    assert len(faulty.requests) == 2


def test_descriptions_are_cut_to_what_the_api_takes(dialect: Dialect, faulty: FaultServer) -> None:
    """OpenAI takes 1024 characters; the rule is whole all the same. Anthropic takes them as they are."""
    faulty.will(stream(dialect.begin(), dialect.text("ok"), dialect.end()))
    for schema in ({}, SHAPES["oneOf"], {"not": {"enum": ["y" * 5000]}, **SHAPES["oneOf"]}):
        complete(dialect, faulty, ToolSpec("t", "word " * 500, schema))
        description, _ = sent_tool(dialect, faulty)
        assert description.startswith("word word")
        assert (len(description) <= 1024) == (dialect.name == "openai")
        assert ("exactly one of these JSON schemas" in description) == bool(schema)


def test_a_server_that_refuses_long_descriptions_gets_short_ones(faulty: FaultServer) -> None:
    """Servers of other makes: found out by the first refusal."""
    said = "Invalid 'tools[0].function.description': string too long. Expected a string with maximum length 1024"
    faulty.will(failure(400, "invalid_request_error", said), stream(Dialect("openai").begin(), Dialect("openai").end()))

    model = OpenAIChat(name="gemini", api_key="k", base_url=faulty.url, timeout_s=5, retries=Retries(0))
    model.complete(asked(tools=(ToolSpec("t", "x" * 2000, {}),)), run_context())
    model.close()
    assert [len(body["tools"][0]["function"]["description"]) for body in faulty.requests] == [2000, 1024]


def test_integers_over_64_bits_stay(dialect: Dialect, faulty: FaultServer) -> None:
    """In a schema as anywhere."""
    faulty.will(page(200, dialect.whole("ok")))
    complete(dialect, faulty, ToolSpec("t", "", {"properties": {"a": {"maximum": 2**70}}}))
    assert sent_tool(dialect, faulty)[1]["properties"] == {"a": {"maximum": 2**70}}
