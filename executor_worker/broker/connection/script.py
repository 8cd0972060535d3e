"""Lua scripts: kept in `broker/lua`, named by their SHA-1, sent in full only to a server that does not know them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import count
from string import ascii_lowercase

from executor_worker.broker import names


@dataclass(frozen=True, slots=True)
class LuaText:
    """A script, or a part of one, that stands in Python rather than in a file of `broker/lua`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """A file of a module's, whose functions are made when one of them is asked for; see lua/lib/module.lua."""

    name: str
    module: str


Part = str | LuaText | Made
"""A file of `broker/lua` by its name, or the text itself."""

_TEXT = r"'(?:[^'\\\n]|\\.)*'"
_TEXTS = _TEXT + r"""|"(?:[^"\\\n]|\\.)*\""""
_SPARE = re.compile(_TEXTS + r"|--[^\n]*| ?([=~<>]=|[=,+*/%<>]) ?|(?<=[^\d.\s]) (\.\.) (?!\.)")
_NAMED = re.compile(rf"({_TEXTS}|\b[A-Z][A-Z_]+\b|\b(?:runs|waits)\b(?:\.\w+)?)")
_CONSTANT = re.compile(rf"^local ([A-Z][A-Z_]+) ?= ?({_TEXT}|\d+)[ \t]*(?:--.*)?\n", re.MULTILINE)
_MODULES = {"runs": "R", "waits": "W"}
_FIELDS = tuple(f"{module}." for module in _MODULES)


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: bytes
    sha: bytes


@cache
def script(name: Part, *parts: Part, flags: str | None = None) -> Script:
    """
    Put `<name>.lua` together with the *parts* of `lua/lib` it uses, which come before it.

    The names from `broker.names`, and the constants of the files, are written out where they are used: as variables
    they would cost each function that uses them a search through all others, at each call of the script. Names of
    modules' fields are short in what is sent: a server keeps each text, and a few kilobytes of it were these.

    Args:
        flags: For the first line `#!lua flags=…`. With such a line (*flags* may be empty) the server refuses
            the script before its first command if memory is full; None leaves it out, and only a first write
            that needs memory is refused.
    """
    read = [*(_read(part, "lib/", "\n") for part in parts), _read(name, "", "")]
    head = "" if flags is None else "#!lua" + (f" flags={flags}" if flags else "") + "\n"
    source = (head + _written_out(read)).encode()
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    return Script(name if isinstance(name, str) else name.name, source, sha)


@contextmanager
def texts_kept() -> Iterator[None]:
    """Read each file once for all scripts that are put together meanwhile; nothing of it stays in memory."""
    try:
        _kept.append({})
        yield
    finally:
        _kept.clear()


@dataclass(frozen=True, slots=True)
class _Read:
    """
    Attributes:
        constants: Those it declares.
        pieces: Its text; each second one is a name that may stand for something else, or a string.
    """

    constants: dict[str, str]
    pieces: tuple[str, ...]


_kept: list[dict[tuple[Part, str, str], _Read]] = []


def _read(part: Part, folder: str, end: str) -> _Read:
    kept = _kept[0] if _kept else {}
    key = (part, folder, end)
    if key not in kept:
        text = _text(part, folder) + end
        kept[key] = _Read(dict(_CONSTANT.findall(text)), tuple(_NAMED.split(_CONSTANT.sub("", text))))
    return kept[key]


def _written_out(read: list[_Read]) -> str:
    """
    Write constants out where they are used: those of `broker.names`, and those that the texts declare.

    Modules get names of one letter, their fields of two or three, in the order in which they are met.
    """
    known = {name: f"'{value}'" for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    known |= _MODULES
    for one in read:
        known |= one.constants
    numbers = count()
    written: list[str] = []
    for one in read:
        pieces = list(one.pieces)
        for at in range(1, len(pieces), 2):
            name = pieces[at]
            if name not in known and name.startswith(_FIELDS):
                turn, letter = divmod(next(numbers), 26)
                known[name] = f"{_MODULES[name.partition('.')[0]]}.{ascii_lowercase[letter]}{turn}"
            pieces[at] = known.get(name, name)
        written += pieces
    return "".join(written)


def _text(part: Part, folder: str = "") -> str:
    if isinstance(part, LuaText):
        return part.text
    if isinstance(part, Made):
        return f"{part.module}[#{part.module} + 1] = function()\n{_text(part.name, folder)}end\n"
    text = (files("executor_worker.broker") / "lua" / f"{folder}{part}.lua").read_text("utf-8")
    return _bare(text)


def _bare(text: str) -> str:
    """Leave out what is for readers: comments, indentation, empty lines, spaces around signs; a third of the text."""
    lines = _SPARE.sub(
        lambda found: found[0] if found[0][0] in "'\"" else found[1] or found[2] or "", text
    ).splitlines()
    return "".join(f"{line.strip(' ')}\n" for line in lines if line.strip(" "))
