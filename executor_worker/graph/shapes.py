"""
Shapes of JSON values: each checks a value and says itself as JSON Schema, so the two can't differ.

`null` is the same as leaving an optional field out. Unknown fields are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from executor_worker.graph import durations
from executor_worker.graph.problems import Location, Problems, shown

Schema = dict[str, Any]


class Shape(Protocol):
    """The shape that a value must have."""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""

    def schema(self) -> Schema:
        """Say the same as JSON Schema."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value."""

    says: str = ""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Accept it."""

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        return _described({}, self.says)


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    says: str = ""
    least: int = 0

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if not isinstance(value, str):
            problems.add(location, "wrong_type", f"must be a text, found {shown(value)}", "Write it as a text.")
        elif len(value) < self.least:
            problems.add(location, "empty", "must not be empty", "Write it, or leave the field out.")

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        least = {"minLength": self.least} if self.least else {}
        return _described({"type": "string", **least}, self.says)


@dataclass(frozen=True, slots=True)
class Id:
    """The id of a node, or a reference to one."""

    says: str = ""
    _forbidden = r"[\u0000-\u001f\u007f-\u009f.\[\]{}/#]"
    _matches = re.compile(r"[^\u0000-\u001f\u007f-\u009f.\[\]{}/#]{1,128}\Z").match

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if not isinstance(value, str):
            problems.add(location, "wrong_type", f"must be a node's id, found {shown(value)}", "Write it as a text.")
        elif not self._matches(value):
            message = (
                f"{shown(value)} can't be an id: 1 to 128 characters, no control characters, none of . [ ] {{ }} / #"
            )
            problems.add(location, "bad_id", message, "Rename it, for example with - or _ instead.")

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        return _described(
            {"type": "string", "minLength": 1, "maxLength": 128, "not": {"pattern": self._forbidden}}, self.says
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    says: str = ""
    code: str = "unknown_value"

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if not isinstance(value, str) or value not in self.words:
            message = f"must be one of {', '.join(self.words)}; found {shown(value)}"
            problems.add(location, self.code, message, f"Write {problems.suggest(value, self.words) or self.words[0]}.")

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        return _described({"enum": list(self.words)}, self.says)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number of at least *least*."""

    least: int = 1
    says: str = ""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or value < self.least:
            message = f"must be a whole number of at least {self.least}, found {shown(value)}"
            problems.add(location, "wrong_type", message, f"Write {self.least} or more.")

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        return _described({"type": "integer", "minimum": self.least}, self.says)


@dataclass(frozen=True, slots=True)
class Number:
    """A number of at least *least*."""

    least: float
    says: str = ""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= self.least:
            message = f"must be a number of at least {self.least:g}, found {shown(value)}"
            problems.add(location, "wrong_type", message, f"Write {self.least:g} or more.")

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        return _described({"type": "number", "minimum": self.least}, self.says)


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds, or a text like `90s`; *positive*: more than none."""

    says: str = ""
    positive: bool = False

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        length = durations.seconds(value)
        if length is None or (self.positive and length <= 0):
            message = f"must be a duration{' above 0' if self.positive else ''}, found {shown(value)}"
            problems.add(location, "bad_duration", message, "Write seconds, or a text like 90s, 5m, 1h.")

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        number = {"type": "number", "exclusiveMinimum" if self.positive else "minimum": 0}
        text: Schema = {
            "type": "string",
            "pattern": durations.PATTERN,
            "maxLength": durations.MOST_CHARS,
            "not": {"pattern": "\\s"},
        }
        if self.positive:
            text["allOf"] = [{"pattern": "[1-9]"}]
        return _described({"anyOf": [number, text]}, self.says)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one shape."""

    of: Shape
    says: str = ""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if not isinstance(value, list):
            problems.add(location, "wrong_type", f"must be a list, found {shown(value)}", "Write it as [ … ].")
            return
        for index, item in enumerate(value):
            if problems.full:
                return
            self.of.check(item, (location, index), problems)

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        return _described({"type": "array", "items": self.of.schema()}, self.says)


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object whose members all have one shape; *names*: the shape of their names."""

    of: Shape
    says: str = ""
    names: Shape | None = None

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if not isinstance(value, dict):
            problems.add(location, "wrong_type", f"must be an object, found {shown(value)}", "Write it as { … }.")
            return
        if self.names is None and isinstance(self.of, Anything):
            return
        for key, item in value.items():
            if problems.full:
                return
            if self.names is not None:
                self.names.check(key, (location, key), problems)
            self.of.check(item, (location, key), problems)

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        names = {} if self.names is None else {"propertyNames": self.names.schema()}
        return _described({"type": "object", "additionalProperties": self.of.schema(), **names}, self.says)


@dataclass(frozen=True, slots=True)
class Record:
    """
    An object of known fields.

    Attributes:
        needs: Groups of names: of each, one must be there.
    """

    fields: Mapping[str, Shape]
    needs: Sequence[tuple[str, ...]] = ()
    says: str = ""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        if not isinstance(value, dict):
            problems.add(location, "wrong_type", f"must be an object, found {shown(value)}", "Write it as { … }.")
            return
        for names in self.needs:
            if value.get(names[0]) is None and all(value.get(name) is None for name in names[1:]):
                problems.add(location, "missing", f"{' or '.join(names)} is missing", f'Add "{names[0]}".')
        for name, item in value.items():
            shape = self.fields.get(name)
            if shape is not None and item is not None:
                shape.check(item, (location, name), problems)

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        schema: Schema = {"type": "object", "properties": {name: _or_null(s) for name, s in self.fields.items()}}
        needs = [_needed(names) for names in self.needs]
        if needs:
            schema["allOf"] = needs
        return _described(schema, self.says)


@dataclass(frozen=True, slots=True)
class ByType:
    """One shape for each JSON type a value may have; *otherwise* says what it must be."""

    object: Shape | None = None
    array: Shape | None = None
    string: Shape | None = None
    number: Shape | None = None
    must: str = ""
    says: str = ""

    def check(self, value: Any, location: Location, problems: Problems) -> None:
        """Add what is wrong with *value*."""
        shape = self._shape(value)
        if shape is None:
            problems.add(location, "wrong_type", f"must be {self.must}, found {shown(value)}", f"Write {self.must}.")
        else:
            shape.check(value, location, problems)

    def _shape(self, value: Any) -> Shape | None:
        if isinstance(value, dict):
            return self.object
        if isinstance(value, list):
            return self.array
        if isinstance(value, str):
            return self.string
        return self.number if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def schema(self) -> Schema:
        """Say it as JSON Schema."""
        shapes = (self.object, self.array, self.string, self.number)
        return _described({"anyOf": [shape.schema() for shape in shapes if shape is not None]}, self.says)


def _described(schema: Schema, says: str) -> Schema:
    return {"description": says, **schema} if says else schema


def _or_null(shape: Shape) -> Schema:
    schema = shape.schema()
    if isinstance(schema.get("type"), str) and "not" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if not schema.keys() - {"description"}:
        return schema
    said = {"description": schema.pop("description")} if "description" in schema else {}
    return {
        **said,
        "anyOf": [*schema["anyOf"], {"type": "null"}] if schema.keys() == {"anyOf"} else [schema, {"type": "null"}],
    }


def _needed(names: tuple[str, ...]) -> Schema:
    each = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]
    return each[0] if len(each) == 1 else {"anyOf": each}
