"""Any property name ↔ the names a model's API takes, at every depth of a tool's schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from executor_worker.providers.schema_parts import everywhere, in_place, items, mapped, members, unescaped
from executor_worker.providers.tool_names import ToolNames

LONGEST = 64
ALLOWED = "a-zA-Z0-9_.-"

_ToWire = Callable[[str], str]


class PropertyNames:
    """
    A one-to-one mapping for the properties of one schema, with `schema` being the one in wire names.

    Attributes:
        odd: Whether there is a name that the API does not take.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        found: set[str] = set()

        def collect(part: dict[str, Any]) -> dict[str, Any]:
            found.update(mapped(part, "properties"))
            return part

        everywhere(schema, collect)
        to_wire = ToolNames(found, LONGEST, ALLOWED).to_wire
        self._own: Mapping[str, str] = {wire: name for name in found if (wire := to_wire(name)) != name}
        self.odd = bool(self._own)
        self.schema: dict[str, Any] = everywhere(schema, lambda part: _renamed(part, to_wire)) if self.odd else schema

    def own(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Give *arguments*, as the model wrote them, the names that the tool knows."""
        if not self.odd:
            return arguments
        try:
            done: dict[str, Any] = self._restored(arguments, [self.schema])
        except RecursionError:  # nested so deeply that no tool takes them
            return arguments
        return done

    def _restored(self, value: Any, schemas: Iterable[Any]) -> Any:
        if not isinstance(value, dict | list):
            return value
        here = in_place(schemas, self.schema)
        if isinstance(value, list):
            return [self._restored(inner, items(here, index)) for index, inner in enumerate(value)]
        known = {name for schema in here for name in mapped(schema, "properties")}
        return {
            (self._own.get(name, name) if name in known else name): self._restored(inner, members(here, name))
            for name, inner in value.items()
        }


def _renamed(part: dict[str, Any], to_wire: _ToWire) -> dict[str, Any]:
    for word in ("dependentSchemas", "dependentRequired", "dependencies"):
        if isinstance(part.get(word), dict):
            part[word] = {to_wire(name): _each(value, to_wire) for name, value in part[word].items()}
    if "required" in part:
        part["required"] = _each(part["required"], to_wire)
    if isinstance(part.get("$ref"), str):
        part["$ref"] = _pointer(part["$ref"], to_wire)
    if properties := mapped(part, "properties"):
        part["properties"] = {to_wire(name): _called(inner, name, to_wire(name)) for name, inner in properties.items()}
    return part


def _each(names: Any, to_wire: _ToWire) -> Any:
    return [to_wire(name) if isinstance(name, str) else name for name in names] if isinstance(names, list) else names


def _called(schema: Any, name: str, wire: str) -> Any:
    """Tell the model what a property is really called: descriptions and complaints call it that."""
    if name == wire or schema is False:
        return schema
    part = schema if isinstance(schema, dict) else {}
    told = f"Named {json.dumps(name, ensure_ascii=False)}"
    return part | {"description": f"{told}: {said}" if (said := part.get("description")) else told}


def _pointer(reference: str, to_wire: _ToWire) -> str:
    steps = reference.split("/")
    for at in range(1, len(steps)):
        name = unescaped(steps[at])
        if steps[at - 1] == "properties" and to_wire(name) != name:
            steps[at] = to_wire(name)
    return "/".join(steps)
