"""Lua scripts: kept in `broker/lua`, named by their SHA-1, sent in full only to a server that does not know them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from executor_worker.broker import names


@dataclass(frozen=True, slots=True)
class LuaText:
    """A script, or a part of one, that stands in Python rather than in a file of `broker/lua`."""

    name: str
    text: str


_WORD = re.compile(r"\b[A-Z][A-Z_]+\b")

Part = str | LuaText
"""A file of `broker/lua` by its name, or the text itself."""


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: bytes
    sha: bytes


@cache
def script(name: Part, *parts: Part, flags: str | None = None) -> Script:
    """
    Put `<name>.lua` together with the *parts* of `lua/lib` it uses, which come before it, and the names from
    `broker.names` that they use, which come first.

    Args:
        flags: For the first line `#!lua flags=…`. With such a line (*flags* may be empty) the server refuses
            the script before its first command if memory is full; None leaves it out, and only a first write
            that needs memory is refused.
    """
    texts = [*(_text(part, "lib/") for part in parts), _text(name)]
    texts.insert(0, _names_in("\n".join(texts)))
    head = "" if flags is None else "#!lua" + (f" flags={flags}" if flags else "") + "\n"
    source = (head + "\n".join(texts)).encode()
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    return Script(name if isinstance(name, str) else name.name, source, sha)


def _names_in(text: str) -> str:
    """Declare the names of keys, streams and groups that *text* uses."""
    known = ((name, value) for name, value in vars(names).items() if name.isupper() and isinstance(value, str))
    used = set(_WORD.findall(text))
    return "\n".join(f"local {name} = '{value}'" for name, value in known if name in used)


def _text(part: Part, folder: str = "") -> str:
    if isinstance(part, LuaText):
        return part.text
    text = (files("executor_worker.broker") / "lua" / f"{folder}{part}.lua").read_text("utf-8")
    # Comments and indentation are for readers: a third of what would be sent to each server.
    lines = (line.lstrip(" ") for line in text.splitlines(keepends=True))
    return "".join(line for line in lines if not line.startswith("--"))
