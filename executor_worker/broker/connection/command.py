"""A command as Redis reads it."""

from __future__ import annotations

from collections.abc import Callable

import hiredis

Word = str | bytes | int | float


class Prepared:
    """A command of which all words but the last are known: packed at a fifth of the price."""

    def __init__(self, *words: Word) -> None:
        head = pack((*words, b"")).partition(b"\r\n")[2]
        self._head = b"*%d\r\n%b" % (len(words) + 1, head.removesuffix(b"$0\r\n\r\n"))

    def __call__(self, last: bytes) -> bytes:
        """Write the command that ends with *last*."""
        return b"%b$%d\r\n%b\r\n" % (self._head, len(last), last)


pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub allows one word
"""Writes one command; strings go as UTF-8."""
