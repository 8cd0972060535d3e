"""JSON schemas for a model's answer: what an API can enforce by itself, and how to ask in words for the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# Keywords that make a schema say more about an object than the names of its fields.
_OPEN = (
    "patternProperties",
    "propertyNames",
    "additionalItems",
    "unevaluatedProperties",
    "if",
    "not",
    "dependentSchemas",
)


def in_words(system: str | None, schema: dict[str, Any]) -> str:
    """Add to the system prompt what an API can't be told otherwise."""
    asked = (
        "Answer with one JSON value and nothing else: no other text, no code fence. It must follow this JSON schema:\n"
        + json.dumps(schema, ensure_ascii=False)
    )
    return f"{system}\n\n{asked}" if system else asked


def closed(schema: object) -> dict[str, Any] | None:
    """
    Rewrite *schema* to the form that structured output takes: one type each, objects with named fields only.

    Returns:
        None if that would change what it means: maps with free keys, recursion, schemas that allow anything.
    """
    try:
        done = _closed(schema)
    except (_NotClosed, AttributeError, TypeError, RecursionError):
        return None
    return None if _recursive(done) else done


def strict(schema: dict[str, Any]) -> bool:
    """Tell whether every object requires all its fields and takes no others: OpenAI's condition for strict schemas."""
    return all(
        part.get("additionalProperties") is False and set(part.get("properties", {})) == set(part.get("required", []))
        for part in parts(schema)
        if part.get("type") == "object" or "properties" in part
    )


def parts(schema: object) -> Iterator[dict[str, Any]]:
    """Yield every mapping in *schema*, itself first."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from parts(value)


class _NotClosed(Exception):
    pass


def _closed(schema: object) -> dict[str, Any]:
    if not isinstance(schema, dict) or any(word in schema for word in _OPEN):
        raise _NotClosed
    schema = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "examples", "default")}
    if isinstance(schema.get("type"), list):
        kinds = schema.pop("type")
        return _closed({"anyOf": [{**schema, "type": kind} for kind in kinds]})
    reference = schema.get("$ref")
    if reference is not None and not (isinstance(reference, str) and reference.startswith("#/$defs/")):
        raise _NotClosed
    for word in ("properties", "$defs"):
        if word in schema:
            schema[word] = {name: _closed(part) for name, part in schema[word].items()}
    choices = [word for word in ("anyOf", "oneOf", "allOf") if word in schema]
    for word in choices:
        schema[word] = [_closed(part) for part in schema[word]]
    if len(schema.get("allOf", ())) > 1:  # objects that are closed each can't be joined
        raise _NotClosed
    if schema.get("type") == "object" or "properties" in schema:
        if choices or not schema.get("properties") or schema.get("additionalProperties", False) is not False:
            raise _NotClosed
        schema |= {"type": "object", "additionalProperties": False}
    if schema.get("type") == "array":
        schema["items"] = _closed(schema.get("items"))
    if not {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"} & schema.keys():
        raise _NotClosed
    return schema


def _recursive(schema: dict[str, Any]) -> bool:
    """Tell whether a definition reaches itself, or one is missing."""
    definitions = schema.get("$defs", {})
    needs = {name: _references(part) for name, part in definitions.items()}
    if not (_references(schema) <= needs.keys()):
        return True
    while free := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in free:
            del needs[name]
    return bool(needs)


def _references(schema: object) -> set[str]:
    found = (part.get("$ref") for part in parts(schema))
    return {reference.removeprefix("#/$defs/") for reference in found if isinstance(reference, str)}
