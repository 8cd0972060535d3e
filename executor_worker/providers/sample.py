"""The smallest value that a JSON schema allows; deterministic."""

from __future__ import annotations

import math
from typing import Any

FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
}
DEEPEST = 20


def sample(schema: object, text: str = "", root: object = None, depth: int = 0) -> Any:
    """
    Make a value that follows *schema*.

    Examples, defaults and enumerations in the schema come first. Patterns are not solved.

    Args:
        text: Taken for strings of which the schema says no more than a length.
        root: What `#/…` references are resolved in; *schema* itself where None.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    if "$ref" in schema:
        return sample(_resolved(root, schema["$ref"]), text, root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            rest = {name: value for name, value in schema.items() if name != key}
            return sample(_merged(rest, schema[key][0]), text, root, depth + 1)
    if schema.get("allOf"):
        whole = {name: value for name, value in schema.items() if name != "allOf"}
        for part in schema["allOf"]:
            whole = _merged(whole, _resolved(root, part["$ref"]) if "$ref" in part else part)
        return sample(whole, text, root, depth + 1)
    return _of_type(_kind(schema), schema, text, root, depth)


def _of_type(kind: str, schema: dict[str, Any], text: str, root: object, depth: int) -> Any:
    if kind == "object":
        fields = schema.get("properties", {})
        return {name: sample(fields.get(name, {}), text, root, depth + 1) for name in schema.get("required", ())}
    if kind == "array":
        return [sample(schema.get("items", {}), text, root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind == "string":
        return _string(schema, text)
    if kind in ("number", "integer"):
        return _number(schema, kind)
    return False if kind == "boolean" else None


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "null")
    return str(kind[0]) if isinstance(kind, list) and kind else str(kind)


def _string(schema: dict[str, Any], text: str) -> str:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    return text.ljust(shortest, "x")[:longest]


def _number(schema: dict[str, Any], kind: str) -> float:
    """The allowed number that is nearest to 0."""
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(above, (int, float)):
        low = max(low, above + (step if kind == "integer" or "multipleOf" in schema else 0.5))
    if isinstance(below, (int, float)):
        high = min(high, below - (step if kind == "integer" or "multipleOf" in schema else 0.5))
    number = min(max(0, low), high)
    if kind == "number" and "multipleOf" not in schema:
        return float(number) if number % 1 else int(number)
    steps = math.ceil(number / step) if number >= 0 else math.floor(number / step)
    value: float = steps * step
    return int(value) if kind == "integer" else value


def _merged(one: dict[str, Any], other: object) -> dict[str, Any]:
    if not isinstance(other, dict):
        return one
    fields = {**one.get("properties", {}), **other.get("properties", {})}
    required = [*dict.fromkeys([*one.get("required", ()), *other.get("required", ())])]
    return one | other | ({"properties": fields} if fields else {}) | ({"required": required} if required else {})


def _resolved(root: object, reference: object) -> object:
    value = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, dict) and step else value
    return value
