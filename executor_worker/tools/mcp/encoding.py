"""
JSON from servers that write what is no text: lone surrogates (half a character, cut off), bytes that are not UTF-8.

The parsers refuse the whole message for it; one character is replaced instead.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

_REPLACEMENT = rb"\ufffd"
_LINE_ENDS = re.compile(rb"[\r\n]")
# An escaped backslash and a pair stay; what is left is half a pair.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def mended(data: bytes) -> bytes:
    """Replace what is no character in a JSON text."""
    if b"\\ud" in data or b"\\uD" in data:
        data = _ESCAPES.sub(lambda found: _REPLACEMENT if found["lone"] else found[0], data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode("utf-8")
    return data


async def mended_lines(chunks: AsyncGenerator[bytes, None], most: int) -> AsyncGenerator[bytes, None]:
    """
    Mend a stream of bytes line by line, as no JSON text goes over the end of a line.

    Args:
        most: Bytes; a longer line is passed on in pieces as it is, for the reader to complain about.
    """
    held: list[bytes] = []
    size = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            end = max((found.end() for found in _LINE_ENDS.finditer(chunk)), default=0)
            if end:
                yield mended(b"".join((*held, chunk[:end])))
                held, size = [], 0
            held.append(chunk[end:])
            size += len(chunk) - end
            if size > most:
                yield b"".join(held)
                held, size = [], 0
    rest = b"".join(held)
    if rest:
        yield mended(rest)
