"""Values are checked against JSON schemas, of any draft and any quality."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.nodes import schema
from executor_worker.nodes.schema import SchemaUnusable, compiled, precompile

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string", "minLength": 2}},
        "boss": {"$ref": "#"},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def test_value_that_fits_has_no_problems() -> None:
    """References inside the schema are followed."""
    assert compiled(PERSON).problems({"name": "Ada", "boss": {"name": "Charles", "tags": ["ab"]}}) == []


def test_problems_come_with_their_path() -> None:
    """The worst first, none lost among three."""
    problems = compiled(PERSON).problems({"tags": ["ok", 5], "boss": {"name": "x", "extra": 1}})
    assert problems[0] == "'name' is a required property"
    assert "tags[1]: 5 is not of type 'string'" in problems
    assert any(problem.startswith("boss: Additional properties") for problem in problems)


def test_missing_parts_can_be_left_out_of_the_problems() -> None:
    """What is there may be judged before the rest comes."""
    assert compiled(PERSON).problems({}, missing=False) == []
    assert compiled(PERSON).problems({"name": 5}, missing=False) == ["name: 5 is not of type 'string'"]


def test_older_drafts_are_understood() -> None:
    """`$schema` names the draft; draft 4 has a boolean exclusiveMinimum."""
    schema = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 0, "exclusiveMinimum": True}
    assert compiled(schema).problems(0)
    assert not compiled(schema).problems(1)


@pytest.mark.parametrize(
    "document", [{"type": "strnig"}, {"properties": []}, {"required": True}, {"pattern": "("}, {"type": 10**30}]
)
def test_schema_that_is_none_says_so(document: dict[str, Any]) -> None:
    """An author's mistake, not a crash."""
    with pytest.raises(SchemaUnusable):
        compiled(document)


class CompiledLate(Exception):
    """It was not compiled in advance."""


def compile_late(_: object) -> None:
    raise CompiledLate


def test_schemas_are_compiled_in_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can't be used holds none up; what is left of too many is compiled when it is needed."""
    schemas = [{"type": "object", "description": f"in advance {number}"} for number in range(4)]
    precompile([schemas[0], {"type": "strnig"}, {"type": 10**30}, schemas[1]])
    monkeypatch.setattr(schema, "_PRECOMPILE_S", -1.0)
    precompile(schemas[2:])
    monkeypatch.setattr(schema, "Schema", compile_late)
    assert compiled(schemas[0]).problems({}) == compiled(dict(schemas[1])).problems({}) == []
    for later in schemas[2:]:
        with pytest.raises(CompiledLate):
            compiled(later)


def test_nothing_is_fetched_for_a_reference() -> None:
    """A reference to the outside can't be used, and makes no request."""
    with pytest.raises(SchemaUnusable, match=r"127\.0\.0\.1"):
        compiled({"$ref": "http://127.0.0.1:1/schema.json"}).problems({})


@pytest.mark.parametrize(
    ("schema", "held"), [({"$ref": "#"}, 1), ({"type": "string"}, 10**5000)], ids=["loop", "digits"]
)
def test_what_can_not_be_checked_is_a_problem(schema: dict[str, Any], held: Any) -> None:
    """Endless references and endless numbers end as a sentence."""
    assert "to be checked" in compiled(schema).problems(held)[0]


def test_large_values_make_short_messages() -> None:
    """The message holds a piece of the value at most."""
    (problem,) = compiled({"type": "string"}).problems(["x" * 100] * 10_000)
    assert len(problem) < 400
