"""
Put inputs and earlier outputs into a node's texts and parameters.

    {{name}}            an input, or the output of the node of that name
    {{name.path.0.x}}   something inside it: keys of objects, positions in lists
    {{inputs.name}}     surely the input            {{inputs}}  all of them
    {{nodes.id}}        surely the node's output    {{nodes}}   all of them

A name means, the first that exists: after `inputs.` or `nodes.` exactly that; else an input; else a node.
Keys may hold dots, dashes and spaces: where several keys fit the start of a name, the longest wins, and
a shorter one is tried if the rest is not found inside it.

In a text, strings go in as they are and all else as compact JSON. A text that is one placeholder alone, in
parameters, becomes the value itself. Each text is read once, from the left: what was put in is never
rendered again. `{{` that nothing closes, and any single brace, is plain text. Keys of objects are no templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import orjson

from executor_worker.errors import TemplateError

MAX_CHARS = 64 * 1024 * 1024
"""Of one node, all its texts together: a few names repeated often enough would fill any memory."""

MAX_DEPTH = 200
"""Of lists and objects in parameters."""

MAX_SEGMENTS = 100
"""Of a name: parts between dots."""

_LISTED_NAMES = 30
_NAME_CHARS = 80
_REMEMBERED_CHARS = 500
_UNSEEN = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]*")
_EXPLICIT = ("inputs", "nodes")

_Where: TypeAlias = "str | tuple[_Where, str | int]"
"""A field, or a key or position in one: put together only for a message, since keys may be megabytes."""


class _Nothing:
    """The value of a name that leads nowhere; None is a value."""


_NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class _Name:
    """The name in a placeholder."""

    text: str


def as_json(value: Any) -> str:
    """
    Write *value* as compact JSON, integers of any size included.

    Raises:
        TemplateError: It can't be written: nested too deeply, or a number of more digits than Python converts.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # orjson.JSONEncodeError: integers over 64 bits, lone surrogates, depth over 254
        pass
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise TemplateError(f"a value can't be written as JSON ({type(error).__name__})") from error


def sendable(text: str) -> str:
    """Replace what no request can carry: halves of surrogate pairs, which JSON can write and UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def blank(text: str) -> bool:
    """Tell whether nothing in *text* can be seen: providers refuse a message of white space."""
    return not text.strip() or _UNSEEN.fullmatch(text) is not None


def short(text: str, chars: int = _NAME_CHARS) -> str:
    """Cut *text* to *chars* for a message."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


@dataclass(slots=True)
class Scope:
    """
    The names that the templates of one node can use.

    Attributes:
        inputs: The graph's inputs.
        outputs: Node id to output, of the nodes that have one.
        unfinished: Node id to status, of the nodes that have none yet; only for better messages.
        further: More names, which inputs and nodes of the same name hide.
        message: What a model is told where its node names no task; None: the inputs.
        absent: Nodes that have not completed: they are null, and so is what is named inside of them.
    """

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    unfinished: dict[str, str] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)
    message: Any = None
    absent: Collection[str] = ()
    _found: dict[str, Any] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _key_dots: dict[int, int] = field(default_factory=dict)
    _chars: int = 0

    @property
    def default_message(self) -> Any:
        """Answer what a model is told where its node names no task."""
        return self.inputs if self.message is None else self.message

    def text(self, template: str, where: _Where) -> str:
        """
        Render *template* to a text.

        Args:
            where: The field it stands in, for the message.

        Raises:
            TemplateError: An unknown name; the known ones are listed.
        """
        if "{{" not in template:
            return template
        return "".join(part if isinstance(part, str) else self._text_of(part.text, where) for part in _parts(template))

    def value(self, template: Any, where: _Where, depth: int = MAX_DEPTH) -> Any:
        """
        Render every text in *template*, at any depth; one placeholder alone keeps its value's type.

        Args:
            depth: How many levels it may have.

        Raises:
            TemplateError: An unknown name, or *template* is nested too deeply.
        """
        if isinstance(template, str):
            return self._value_of_text(template, where) if "{{" in template else template
        if not isinstance(template, (dict, list)):
            return template
        if not depth:
            raise TemplateError(f"{_spot(where)}: nested more than {MAX_DEPTH} deep")
        if isinstance(template, dict):
            return {key: self.value(item, (where, key), depth - 1) for key, item in template.items()}
        return [self.value(item, (where, index), depth - 1) for index, item in enumerate(template)]

    def tried(self, template: Any, where: _Where) -> Any:
        """
        Render as `value` does; what can't be rendered counts for nothing in what else this scope renders.

        Raises:
            TemplateError: See `value`.
        """
        chars, found = self._chars, len(self._found)
        try:
            return self.value(template, where)
        except TemplateError:
            self._chars = chars
            while len(self._found) > found:
                self._found.popitem()
            raise

    def _value_of_text(self, template: str, where: _Where) -> Any:
        parts = _known_parts(template) if len(template) <= _REMEMBERED_CHARS else _split(template)
        if len(parts) != 1 or isinstance(parts[0], str):
            return self.text(template, where)
        name = parts[0].text
        seen = name in self._found
        value = self._resolve(name, where)
        if seen and isinstance(value, (str, dict, list)):
            # The same object again costs nothing here, but is written out in full by what sends it.
            self._text_of(name, where)
        return value

    def _text_of(self, name: str, where: _Where) -> str:
        text = self._texts.get(name)
        if text is None:
            value = self._resolve(name, where)
            text = self._texts[name] = value if isinstance(value, str) else as_json(value)
        self._chars += len(text)
        if self._chars > MAX_CHARS:
            raise TemplateError(f"{_spot(where)}: renders to more than {MAX_CHARS:,} characters")
        return text

    def _resolve(self, name: str, where: _Where) -> Any:
        value = self._found.get(name, _NOTHING)
        if value is _NOTHING:
            value = self._look_up(name)
            if value is _NOTHING:
                raise TemplateError(f"{_spot(where)}: {self._unknown(name)}")
            self._found[name] = value
        return value

    def _look_up(self, name: str) -> Any:
        if "." not in name:
            known = self.inputs if name in self.inputs else self.outputs
            return known[name] if name in known else self._explicit(name)
        parts = name.split(".", MAX_SEGMENTS)
        if len(parts) > MAX_SEGMENTS:
            # Too many to look for inside things; as a whole it may still be a key.
            return self.inputs.get(name, self.outputs.get(name, _NOTHING))
        if len(parts) > 1 and parts[0] in _EXPLICIT:
            explicit = self._descend(self.inputs if parts[0] == "inputs" else self.outputs, parts[1:])
            if explicit is not _NOTHING:
                return explicit
        dots = max(self._dots_in_keys(self.inputs), self._dots_in_keys(self.outputs))
        for taken in range(min(len(parts), dots + 1), 0, -1):
            key, rest = ".".join(parts[:taken]), parts[taken:]
            for names in (self.inputs, self.outputs, self.further):
                if key in names and (value := self._descend(names[key], rest)) is not _NOTHING:
                    return value
        return None if self._is_absent(parts) else self._explicit(name)

    def _is_absent(self, parts: list[str]) -> bool:
        if parts[0] == "nodes" and parts[1] in self.absent:
            return True
        return parts[0] in self.absent and parts[0] not in self.inputs

    def _explicit(self, name: str) -> Any:
        return {**self.further, "inputs": self.inputs, "nodes": self.outputs}.get(name, _NOTHING)

    def _descend(self, value: Any, parts: list[str]) -> Any:
        if not parts:
            return value
        if isinstance(value, dict):
            for taken in range(min(len(parts), self._dots_in_keys(value) + 1), 0, -1):
                key = ".".join(parts[:taken])
                if key in value and (inner := self._descend(value[key], parts[taken:])) is not _NOTHING:
                    return inner
        elif isinstance(value, list) and (index := _position(parts[0])) is not None and index < len(value):
            return self._descend(value[index], parts[1:])
        return _NOTHING

    def _dots_in_keys(self, value: dict[str, Any]) -> int:
        """Say how many dots a key of *value* has at most; counted once, so that hostile names cost no more."""
        dots = self._key_dots.get(id(value))
        if dots is None:
            dots = self._key_dots[id(value)] = max((key.count(".") for key in value), default=0)
        return dots

    def _unknown(self, name: str) -> str:
        known = f"known are inputs: {_listed(self.inputs)}; nodes with an output: {_listed(self.outputs)}"
        bare = name.removeprefix("nodes.")
        for node_id in (bare, bare.split(".", 1)[0]):
            if node_id in self.unfinished:
                return f'node "{short(node_id)}" has no output yet ({self.unfinished[node_id]}); {known}'
        holder = self._holder(name)
        inside = f', "{short(holder[0])}" has {holder[1]}' if holder else ""
        return f"unknown name {{{{{short(name)}}}}}{inside}; {known}"

    def _holder(self, name: str) -> tuple[str, str] | None:
        """Find the longest beginning of *name* that is known, and describe what it has."""
        parts = name.split(".", MAX_SEGMENTS)[:MAX_SEGMENTS]
        for taken in range(len(parts) - 1, 0, -1):
            begin = ".".join(parts[:taken])
            if (value := self._look_up(begin)) is not _NOTHING and begin not in _EXPLICIT:
                return begin, _described(value)
        return None


def _parts(template: str) -> Sequence[str | _Name]:
    """Split *template* into plain texts and names; short ones come again with each item of their kind."""
    return _known_parts(template) if len(template) <= _REMEMBERED_CHARS else _split(template)


@lru_cache(maxsize=1024)
def _known_parts(template: str) -> Sequence[str | _Name]:
    return tuple(_split(template))


def _split(template: str) -> list[str | _Name]:
    """One walk from left to right."""
    parts: list[str | _Name] = []
    start = 0
    while (close := template.find("}}", start)) >= 0:
        opening = template.rfind("{{", start, close)
        if opening < 0:
            # Nothing to close; a third brace may belong to the next pair, so go on by what was looked at.
            parts.append(template[start : close + 2])
        else:
            if opening > start:
                parts.append(template[start:opening])
            parts.append(_Name(template[opening + 2 : close].strip()))
        start = close + 2
    if start < len(template):
        parts.append(template[start:])
    return parts


def _position(part: str) -> int | None:
    return int(part) if part.isascii() and part.isdigit() and len(part) < 10 else None


def _spot(where: _Where) -> str:
    parts: list[str] = []
    while not isinstance(where, str):
        where, part = where
        parts.append(f"[{part}]" if isinstance(part, int) else f".{short(part)}")
    return short(where + "".join(reversed(parts)), 4 * _NAME_CHARS)


def _listed(names: Iterable[str]) -> str:
    first = list(islice(names, _LISTED_NAMES + 1))
    listed = ", ".join(short(str(name)) for name in first[:_LISTED_NAMES])
    return (listed + (", …" if len(first) > _LISTED_NAMES else "")) or "none"


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"the keys: {_listed(value)}"
    if isinstance(value, list):
        return f"{len(value)} items, from 0"
    return "nothing inside"
