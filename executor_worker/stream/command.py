"""A command as Redis reads it."""

from __future__ import annotations

from collections.abc import Sequence

import hiredis

Word = str | bytes | int | float


def pack(words: Sequence[Word]) -> bytes:
    """Write one command; strings go as UTF-8."""
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its stub allows one word only
    return packed
