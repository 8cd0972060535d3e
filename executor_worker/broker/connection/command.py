"""A command as Redis reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import hiredis

if TYPE_CHECKING:
    from executor_worker.broker.connection.script import Script

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


def in_full(script: Script, keys: Sequence[Word], args: Sequence[Word]) -> tuple[bytes, bytes, bytes]:
    """
    Write EVAL with the text of *script*, in three parts to be sent one after the other.

    The text is not copied: it may have 60 KiB and lies in memory that all workers share, and packing it takes as much
    four times, of each worker's own.
    """
    words = pack((len(keys), *keys, *args)).partition(b"\r\n")[2]
    return (
        b"*%d\r\n$4\r\nEVAL\r\n$%d\r\n" % (3 + len(keys) + len(args), len(script.source)),
        script.source,
        b"\r\n" + words,
    )
