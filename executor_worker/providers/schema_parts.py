"""Walk JSON schemas: the schemas inside a schema, what holds at one place, what a reference points to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

BRANCHES = ("allOf", "anyOf", "oneOf")

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = (*BRANCHES, "prefixItems", "items")
_ONES = (
    "items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames", "not",
    "if", "then", "else",
)  # fmt: skip


def everywhere(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change every schema in *schema*, the innermost first."""
    if not isinstance(schema, dict):
        return schema
    done = dict(schema)
    for word in _MAPS:
        if isinstance(done.get(word), dict):
            done[word] = {name: everywhere(part, change) for name, part in done[word].items()}
    for word in _LISTS:
        if isinstance(done.get(word), list):
            done[word] = [everywhere(part, change) for part in done[word]]
    for word in _ONES:
        if isinstance(done.get(word), dict):
            done[word] = everywhere(done[word], change)
    return change(done)


def in_place(schemas: Iterable[Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List all schemas that speak of one place: those given, what they refer to, and their branches."""
    left = [schema for schema in schemas if isinstance(schema, dict)]
    found: list[Mapping[str, Any]] = []
    while left:
        schema = left.pop()
        if any(schema is one for one in found):
            continue
        found.append(schema)
        more: list[Any] = [branch for word in BRANCHES for branch in listed(schema, word)]
        more += [schema.get(word) for word in ("if", "then", "else")]
        more += mapped(schema, "dependentSchemas").values()
        more.append(target(schema.get("$ref"), root))
        left += [branch for branch in more if isinstance(branch, dict)]
    return found


def members(schemas: Iterable[Mapping[str, Any]], name: str) -> Iterator[Any]:
    """List what *schemas* say of an object's member."""
    for schema in schemas:
        properties = mapped(schema, "properties")
        if name in properties:
            yield properties[name]
        else:
            yield schema.get("additionalProperties")
            yield from mapped(schema, "patternProperties").values()


def items(schemas: Iterable[Mapping[str, Any]], place: int) -> Iterator[Any]:
    """List what *schemas* say of an array's item."""
    for schema in schemas:
        first = listed(schema, "prefixItems")
        yield first[place] if place < len(first) else schema.get("items")


def followed(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """Lay *schema* over what it refers to."""
    seen = set()
    done = dict(schema) if isinstance(schema, dict) else {}
    while isinstance(reference := done.pop("$ref", None), str) and reference not in seen:
        seen.add(reference)
        aim = target(reference, root)
        done = {**aim, **done} if isinstance(aim, dict) else done
    return done


def target(reference: Any, root: Mapping[str, Any]) -> Any:
    """Find what a reference inside the document points to; None if it points nowhere, or elsewhere."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    found: Any = root
    for step in reference.split("/")[1:]:
        name = unescaped(step)
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict):
            found = found.get(name)
        else:
            return None
    return found


def unescaped(step: str) -> str:
    """Read one step of a JSON pointer in a URL."""
    return unquote(step).replace("~1", "/").replace("~0", "~")


def mapped(schema: Mapping[str, Any], word: str) -> dict[str, Any]:
    value = schema.get(word)
    return value if isinstance(value, dict) else {}


def listed(schema: Mapping[str, Any], word: str) -> list[Any]:
    value = schema.get(word)
    return value if isinstance(value, list) else []
