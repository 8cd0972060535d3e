"""
Cells in shared memory: values that never mislead a reader, whenever their writer is killed.

A number, flag or choice is one aligned 8-byte word: read and written by one machine instruction. What is longer, or
belongs together, is a `Twin`.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from typing import Any, Protocol, overload

WORD = 8
READ_ATTEMPTS = 8


class Words(Protocol):
    """Whatever owns a stretch of memory, seen as 8-byte numbers."""

    ints: memoryview[int]


class Number:
    """An integer in the owner's word *at*."""

    def __init__(self, at: int) -> None:
        self.at = int(at)  # a plain one is faster than an enum's

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Number: ...
    @overload
    def __get__(self, owner: Words, kind: type[Any]) -> int: ...
    def __get__(self, owner: Words | None, kind: type[Any]) -> int | Number:
        return self if owner is None else owner.ints[self.at]

    def __set__(self, owner: Words, value: int) -> None:
        owner.ints[self.at] = value


class Flag:
    """Yes or no in the owner's word *at*."""

    def __init__(self, at: int) -> None:
        self.at = int(at)

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Flag: ...
    @overload
    def __get__(self, owner: Words, kind: type[Any]) -> bool: ...
    def __get__(self, owner: Words | None, kind: type[Any]) -> bool | Flag:
        return self if owner is None else owner.ints[self.at] != 0

    def __set__(self, owner: Words, value: bool) -> None:
        owner.ints[self.at] = 1 if value else 0


class Choice:
    """One of a few *names* in the owner's word *at*."""

    def __init__(self, at: int, names: tuple[str, ...]) -> None:
        self.at = int(at)
        self.names = names
        self.number = {name: number for number, name in enumerate(names)}

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Choice: ...
    @overload
    def __get__(self, owner: Words, kind: type[Any]) -> str: ...
    def __get__(self, owner: Words | None, kind: type[Any]) -> str | Choice:
        return self if owner is None else self.names[owner.ints[self.at]]

    def __set__(self, owner: Words, value: str) -> None:
        owner.ints[self.at] = self.number[value]


class Twin:
    """
    A record kept twice: the writer fills the copy that is not shown, then shows it by one store.

    A writer that is killed leaves the old record standing, whole. One process may write at a time.

    [version q][even copy][odd copy]
    """

    __slots__ = ("_copies", "_ints", "_layout", "_shared", "_step")

    def __init__(self, shared: mmap, offset: int, layout: Struct) -> None:
        self._shared = shared
        self._ints = memoryview(shared)[offset : offset + WORD].cast("q")
        self._layout = layout
        self._step = padded(layout.size)
        self._copies = (offset + WORD, offset + WORD + self._step)

    @staticmethod
    def size(layout: Struct) -> int:
        """Bytes a twin of *layout* takes."""
        return WORD + 2 * padded(layout.size)

    def write(self, *values: object) -> None:
        version = self._ints[0] + 1
        self._layout.pack_into(self._shared, self._copies[version & 1], *values)
        self._ints[0] = version

    def read(self) -> tuple[Any, ...]:
        values: tuple[Any, ...] = ()
        for _ in range(READ_ATTEMPTS):
            version = self._ints[0]
            values = self._layout.unpack_from(self._shared, self._copies[version & 1])
            if self._ints[0] == version:
                break
        return values


class Text:
    """A text of at most *limit* bytes in UTF-8, kept as a `Twin`."""

    __slots__ = ("_limit", "_twin")

    def __init__(self, shared: mmap, offset: int, limit: int) -> None:
        self._limit = limit
        self._twin = Twin(shared, offset, Struct(f"<H{limit}s"))

    @staticmethod
    def size(limit: int) -> int:
        return Twin.size(Struct(f"<H{limit}s"))

    def write(self, text: str) -> None:
        """Put *text* up, cut between characters if it is too long."""
        raw = clip(text, self._limit)
        self._twin.write(len(raw), raw)

    def read(self) -> str:
        length, raw = self._twin.read()
        return str(raw[:length], "utf-8", "replace")


def padded(size: int) -> int:
    return (size + WORD - 1) // WORD * WORD


def clip(text: str, limit: int) -> bytes:
    """Encode *text* in at most *limit* bytes, cutting between characters."""
    raw = text.encode("utf-8", "replace")
    return raw if len(raw) <= limit else raw[:limit].decode("utf-8", "ignore").encode()
