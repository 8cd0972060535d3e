"""Lua scripts: kept in `broker/lua`, named by their SHA-1, sent in full only to a server that does not know them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: bytes
    sha: bytes


@cache
def script(name: str, *parts: str, flags: str | None = None) -> Script:
    """
    Put `<name>.lua` together with the *parts* of `lua/lib` it uses, which come before it.

    Args:
        flags: For the first line `#!lua flags=…`. With such a line (*flags* may be empty) the server refuses
            the script before its first command where memory is full; None leaves it out, and only a first write
            that needs memory is refused.
    """
    folder = files("executor_worker.broker") / "lua"
    names = (*(f"lib/{part}.lua" for part in parts), f"{name}.lua")
    texts = [folder.joinpath(file).read_text("utf-8") for file in names]
    head = "" if flags is None else "#!lua" + (f" flags={flags}" if flags else "") + "\n"
    source = (head + "\n".join(texts)).encode()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())
