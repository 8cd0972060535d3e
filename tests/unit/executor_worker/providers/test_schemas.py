"""Which schemas an API can enforce by itself."""

from __future__ import annotations

from typing import Any

import anthropic
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.providers.sample import FORMATS, sample
from executor_worker.providers.schemas import closed, in_words, strict

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "home": {"$ref": "#/$defs/place"},
    },
    "required": ["name"],
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def test_a_schema_of_named_fields_is_closed() -> None:
    """Objects take no other fields, one type each; and the SDK can put it into the API's form."""
    done = closed(PERSON)
    assert done is not None
    assert done["additionalProperties"] is False
    assert done["$defs"]["place"]["additionalProperties"] is False
    assert done["properties"]["age"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert anthropic.transform_schema(done)["required"] == ["name"]
    assert "additionalProperties" not in PERSON


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "patternProperties": {"x": {}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}]},
        {"type": "array"},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "null"}}}, {"type": "string"}]},
        {"$ref": "#/$defs/node", "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}}},
        {"$ref": "#/$defs/gone"},
        {"$ref": "http://elsewhere/schema"},
        {"type": "object", "properties": [1]},
        {"type": "object", "properties": {"a": 3}},
    ],
)
def test_what_means_more_than_that_is_not(schema: Any) -> None:
    """Maps, anything-goes, recursion, nonsense: closing it would change its meaning."""
    assert closed(schema) is None


def test_strictness_needs_all_fields_required_and_no_others() -> None:
    """In every object inside."""
    inner = {"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": False}
    outer = {"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": False}
    assert strict(outer)
    assert not strict({**outer, "required": []})
    assert not strict({**outer, "properties": {"a": {**inner, "additionalProperties": True}}})


def test_in_words() -> None:
    """After what the author says, or alone."""
    assert in_words("Be kind.", {"type": "string"}).startswith("Be kind.\n\nAnswer with one JSON value")
    assert in_words(None, {"type": "string"}).endswith('{"type": "string"}')


LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 5),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-9, 9),
        st.integers(0, 9),
    ),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-9, 9)),
    st.builds(lambda high: {"type": "integer", "exclusiveMaximum": high}, st.integers(-9, 9)),
    st.builds(
        lambda step, low: {"type": "integer", "multipleOf": step, "minimum": low},
        st.integers(1, 9),
        st.integers(-20, 20),
    ),
    st.builds(lambda name: {"type": "string", "format": name}, st.sampled_from(sorted(FORMATS))),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"enum": [3, "x"]}),
    st.just({"const": {"a": 1}}),
    st.just({"type": "string", "default": "preset"}),
    st.just({"$ref": "#/$defs/word"}),
    st.just({"allOf": [{"$ref": "#/$defs/thing"}, {"properties": {"b": {"type": "null"}}, "required": ["b"]}]}),
)


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(lambda part, least: {"type": "array", "items": part, "minItems": least}, inner, st.integers(0, 2)),
        st.builds(lambda part: {"type": "object", "properties": {"a": part, "z": {}}, "required": ["a"]}, inner),
        st.builds(lambda part, other: {"anyOf": [part, other]}, inner, inner),
    )


@given(st.recursive(LEAVES, nested, max_leaves=6), st.text(max_size=20))
def test_a_sample_follows_its_schema(schema: dict[str, Any], text: str) -> None:
    """Whatever the schema is made of."""
    thing = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    whole = {**schema, "$defs": {"word": {"type": "string"}, "thing": thing}}
    jsonschema.validate(sample(whole, text), whole)


def test_a_sample_of_what_has_none_ends() -> None:
    """Endless recursion and nonsense give something; validation is the caller's."""
    endless = {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
    }
    assert isinstance(sample(endless), dict)
    assert sample({"$ref": "#/nowhere"}) is None
    assert sample(None) is None
