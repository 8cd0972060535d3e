"""Change members of objects inside a JSON text and leave every other byte of it as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any

from executor_worker.json_text import refuse_constant

Paths = Mapping[str, Any]
"""Member → the paths below it: which values are themselves to be taken apart."""

ReadAt = Callable[[str, int], tuple[dict[str, Any], int] | None]


class Alone(dict[str, Any]):
    """Paths of an object of which nothing but these members is asked for or changed, and others only added."""


_SPACE = re.compile(r"[ \t\n\r]*")
# Names without escapes and what stands around them, in one match each: a match costs less than the calls it saves.
_PLAIN_NAME = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
_NEXT = re.compile(r"[ \t\n\r]*([,}])[ \t\n\r]*")
COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")  # what is written in one way only, but for
SPELT = re.compile(r"\\u00[2-7]")  # a letter as its number
# Values are only skipped: numbers need not be made, and those of thousands of digits could not.
_SKIP = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse_constant)


@dataclass(slots=True)
class Member:
    """The place of a member in the text; `child` if its value was taken apart."""

    start: int
    value_start: int
    end: int
    child: Node | None = None


@dataclass(slots=True)
class Node:
    """An object of the text. Of a name that stands twice the last counts, as readers have it."""

    text: str
    start: int
    end: int = 0
    members: list[tuple[str, Member]] = field(default_factory=list)
    closed: bool = False  # it has members that were not asked for

    def get(self, key: str) -> Member | None:
        return next((member for name, member in reversed(self.members) if name == key), None)

    def child(self, key: str) -> Node | None:
        member = self.get(key)
        return member.child if member is not None else None

    def rendered(self, changes: Mapping[str, str], dropped: Set[str] = frozenset()) -> str:
        """Write the object again, with *changes* (name → JSON text) and without *dropped*."""
        last = {name: index for index, (name, _) in enumerate(self.members)}
        if dropped & last.keys():
            return self._rebuilt(changes, dropped)
        pieces, at = [], self.start
        for index, (name, member) in enumerate(self.members):
            if name in changes and last[name] == index:
                pieces += [self.text[at : member.value_start], changes[name]]
                at = member.end
        tail = self._tail()
        added = ",".join(f"{json.dumps(name)}:{value}" for name, value in changes.items() if name not in last)
        comma = "," if added and (self.members or self.closed) else ""
        return "".join([*pieces, self.text[at:tail], comma, added, self.text[tail : self.end]])

    def _tail(self) -> int:
        """Return where the last member ends."""
        if self.members:
            return self.members[-1][1].end
        at = self.end - 1 if self.closed else self.start + 1
        while self.closed and self.text[at - 1] in " \t\n\r":
            at -= 1
        return at

    def _rebuilt(self, changes: Mapping[str, str], dropped: Set[str]) -> str:
        kept = {name: self.text[m.value_start : m.end] for name, m in self.members if name not in dropped}
        return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in {**kept, **changes}.items()) + "}"


def whole(text: str, paths: Paths) -> Node:
    """
    Take *text* apart, which must be one object.

    Raises:
        ValueError: It is not JSON, no object, or nested too deeply.
    """
    try:
        node = _node(text, _space(text, 0), paths)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _space(text, node.end) != len(text):
        raise ValueError("something follows after the object")
    return node


def lifted(text: str, name: str, paths: Paths, read: ReadAt | None = None) -> Node | None:
    """
    As `whole`, with none of its members but *name*, whose value is to be taken apart by *paths*.

    Args:
        text: Known to be an object in which *name* is an object that has members.
        read: Reads the object that begins at a place, and says where it ends, if it can; it only saves time.

    Returns:
        None if that takes a closer look: *name* stands in more places of the text than one, or it is nested so
        deeply that only `whole` says what is wrong.
    """
    value = _only(text, name, 0, len(text))
    if value is None or text[value : value + 1] != "{":
        return None
    try:
        child = _at_once(text, value, paths, read)
    except RecursionError:
        return None
    return child and Node(text, 0, len(text), [(name, Member(value, value, child.end, child))])


def _node(text: str, start: int, paths: Paths) -> Node:
    if text[start : start + 1] != "{":
        raise ValueError("it is not an object")
    node = Node(text, start)
    at = _space(text, start + 1)
    if text[at : at + 1] == "}":
        node.end = at + 1
        return node
    while True:
        at = _member(node, text, at, paths)
        after = _NEXT.match(text, at)
        if after is None:
            raise ValueError(f"no comma or end of object at character {at}")
        if after[1] == "}":
            node.end = after.end(1)
            return node
        at = after.end()


def _member(node: Node, text: str, at: int, paths: Paths) -> int:
    """Note the member at *at*; answers where it ends."""
    name, value = _name(text, at)
    return _value(node, text, name, at, value, paths)


def _value(node: Node, text: str, name: str, at: int, value: int, paths: Paths) -> int:
    below = paths.get(name)
    if below is not None and text[value : value + 1] == "{":
        child = _at_once(text, value, below) or _node(text, value, below)
        member = Member(at, value, child.end, child)
    else:
        member = Member(at, value, _SKIP.raw_decode(text, value)[1])
    node.members.append((name, member))
    return member.end


def _at_once(text: str, start: int, paths: Paths, read: ReadAt | None = None) -> Node | None:
    """
    The object at *start*, if it has members and *paths* are `Alone`, with those.

    The parser looks through a thousand nodes of a graph in one go; one by one here that takes longer than all else.
    None if one of *paths* can't be told from other names further inside.
    """
    if not isinstance(paths, Alone):
        return None
    found, end = (read and read(text, start)) or _SKIP.raw_decode(text, start)
    if not found:
        return None
    node = Node(text, start, end, closed=True)
    for name in paths.keys() & found.keys():
        value = _only(text, name, start, end)
        if value is None:
            return None
        _value(node, text, name, value, value, paths)
    return node


def _only(text: str, name: str, start: int, end: int) -> int | None:
    """
    Find where the value of the member *name* begins, if that name stands between *start* and *end* but once.

    There is such a member. In a text between quotes a quote is escaped, so nothing but a whole text looks like a name,
    nothing but a name has a colon behind it; and where a letter may be written as its number there may be another one
    that is called so.
    """
    if not _PLAIN.fullmatch(name) or (text.find("\\u00", start, end) >= 0 and SPELT.search(text, start, end)):
        return None
    quoted, value = f'"{name}"', None
    at = text.find(quoted, start, end)
    while at >= 0:
        colon = COLON.match(text, at + len(quoted), end)
        if colon is not None and value is not None:
            return None
        value = colon.end() if colon is not None else value
        at = text.find(quoted, at + 1, end)
    return value


def _name(text: str, at: int) -> tuple[str, int]:
    """The member's name that begins at *at*, and where its value begins."""
    plain = _PLAIN_NAME.match(text, at)
    if plain is not None:
        return plain[1], plain.end()
    if text[at : at + 1] != '"':
        raise ValueError(f"no name of a member at character {at}")
    name, colon = scanstring(text, at + 1)
    colon = _space(text, colon)
    if text[colon : colon + 1] != ":":
        raise ValueError(f"no colon at character {colon}")
    return name, _space(text, colon + 1)


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
