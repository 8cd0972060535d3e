"""
A tool's JSON schema in the form that models' APIs take.

They want one object at the top, without alternatives beside it, in the words of the newest draft. What that can't
express is said to the model in words; the caller of the tool checks its arguments against the whole schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from executor_worker.providers.property_names import PropertyNames
from executor_worker.providers.schema_parts import BRANCHES, everywhere, followed, listed, mapped, target

LONGEST_RULE = 700

_HOW_MANY = {"allOf": "every one", "anyOf": "at least one", "oneOf": "exactly one"}
_SAID = {"enum": "must be one of", "const": "must be", "not": "must not follow the JSON schema"}
_NOT_AT_THE_TOP = {*BRANCHES, *_SAID, "$ref"}
_JOINED = {"type", "properties", "required", "title", "description", "$defs", "definitions", "$comment"}
_ALL_OBJECTS: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Declared:
    """
    A schema as an API takes it.

    Attributes:
        parameters: An object at the top.
        rule: What it could not express, as sentences for the model; empty if there is no such thing.
        names: Its properties' names; None if they are as the tool has them.
    """

    parameters: dict[str, Any]
    rule: str = ""
    names: PropertyNames | None = None


def declared(schema: dict[str, Any], *, plain_names: bool) -> Declared:
    """
    Rewrite a tool's *schema* for an API.

    Args:
        plain_names: Whether properties may only have names as Anthropic's API takes them.
    """
    try:
        return _remembered(orjson.dumps(schema), plain_names)
    except TypeError:  # what orjson can't write (integers over 64 bits) is rare enough to be rewritten each time
        return _declared(schema, plain_names)


@lru_cache(maxsize=512)
def _remembered(text: bytes, plain_names: bool) -> Declared:
    return _declared(orjson.loads(text), plain_names)


def _declared(schema: dict[str, Any], plain_names: bool) -> Declared:
    try:
        modern: dict[str, Any] = everywhere(schema, _modern)
        names = PropertyNames(modern) if plain_names else None
        parameters, rule = _object_at_the_top(names.schema if names else modern)
    except RecursionError:
        return Declared(_ALL_OBJECTS)
    return Declared(parameters, rule, names)


def _modern(part: dict[str, Any]) -> dict[str, Any]:
    """Say what older drafts say in the words of 2020-12: APIs refuse the old ones."""
    part.pop("$schema", None)
    if isinstance(part.get("items"), list):
        part["prefixItems"] = part.pop("items")
        if (rest := part.pop("additionalItems", None)) is not None:
            part["items"] = rest
    for limit, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(part.get(limit), bool) and part.pop(limit) and bound in part:
            part[limit] = part.pop(bound)
    if not isinstance(part.get("required", []), list):
        del part["required"]
    if part.get("type") == "array":
        part.setdefault("items", {})  # OpenAI's API asks for it
    return part


def _object_at_the_top(schema: dict[str, Any]) -> tuple[dict[str, Any], str]:
    top = followed(schema, schema)
    properties, required = _joined(schema, schema, frozenset())
    kept = {key: value for key, value in top.items() if key not in _NOT_AT_THE_TOP}
    kept |= {"type": "object", "properties": properties}
    if kept.get("additionalProperties") is False and properties.keys() - mapped(top, "properties").keys():
        del kept["additionalProperties"]  # it did not know of those
    if required:
        kept["required"] = required
    return everywhere(kept, lambda part: _without_lost_reference(part, kept)), "\n".join(_rules(top, schema))


def _joined(schema: Any, root: dict[str, Any], seen: frozenset[str]) -> tuple[dict[str, Any], list[str]]:
    """
    Join what *schema* and its branches say of an object's members.

    Args:
        seen: References that have led here.

    Returns:
        Its properties, and which are required in any case.
    """
    reference = str(schema.get("$ref", "")) if isinstance(schema, dict) else ""
    if reference in seen:
        return {}, []
    schema, seen = followed(schema, root), seen | {reference} if reference else seen
    properties, required = dict(mapped(schema, "properties")), _texts(schema.get("required"))
    for word in BRANCHES:
        branches = [_joined(branch, root, seen) for branch in listed(schema, word)]
        _add(properties, [part for part, _ in branches], together="allOf" if word == "allOf" else "anyOf")
        required += _required([names for _, names in branches], of_all=word != "allOf")
    values = [value for value in (*listed(schema, "enum"), schema.get("const")) if isinstance(value, dict)]
    _add(properties, [{name: {"const": part} for name, part in value.items()} for value in values], together="anyOf")
    required += _required([list(value) for value in values], of_all=True)
    return properties, list(dict.fromkeys(required))


def _add(properties: dict[str, Any], branches: list[dict[str, Any]], *, together: str) -> None:
    """Add the branches' properties; of alternatives only what *properties* does not say anything of already."""
    found: dict[str, list[Any]] = {}
    for branch in branches:
        for name, part in branch.items():
            if part not in found.setdefault(name, []):
                found[name].append(part)
    for name, ways in found.items():
        own = properties.get(name)
        if own not in (None, {}, True):
            if together == "anyOf":
                continue
            ways = [own, *(way for way in ways if way != own)]
        properties[name] = ways[0] if len(ways) == 1 else {together: ways}


def _required(branches: list[list[str]], *, of_all: bool) -> list[str]:
    """Tell which names are required: those that any branch names, or *of_all* only those that each names."""
    every = [name for names in branches for name in names]
    return [name for name in every if all(name in names for names in branches)] if of_all else every


def _rules(top: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """Say what may not stand at the top, as far as joining has lost it."""
    for word, how_many in _HOW_MANY.items():
        branches = listed(top, word)
        if (len(branches) > 1 and word != "allOf") or not all(_is_joined(branch, root) for branch in branches):
            yield _alternatives(branches, how_many, root)
    for word, said in _SAID.items():
        if word in top:
            yield _cut(f"The parameters {said}: {json.dumps(top[word], ensure_ascii=False)}")


def _alternatives(branches: list[Any], how_many: str, root: dict[str, Any]) -> str:
    told = f"The parameters must follow {how_many} of these JSON schemas: {json.dumps(branches, ensure_ascii=False)}"
    if len(told) <= LONGEST_RULE:
        return told
    sets = ["{" + ", ".join(_joined(branch, root, frozenset())[1]) + "}" for branch in branches]
    return _cut(f"Give {how_many} of these sets of parameters: {', '.join(dict.fromkeys(sets))}")


def _is_joined(branch: Any, root: dict[str, Any]) -> bool:
    """Tell whether all that *branch* says has its place in the joined object."""
    said = followed(branch, root)
    return isinstance(branch, dict) and said.keys() <= _JOINED and said.get("type", "object") == "object"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_RULE else text[: LONGEST_RULE - 1] + "…"


def _without_lost_reference(part: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/") and target(reference, root) is None:
        return {key: value for key, value in part.items() if key != "$ref"}
    return part


def _texts(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
