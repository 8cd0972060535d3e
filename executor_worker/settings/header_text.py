"""Texts that go into HTTP headers: keys and tokens, as people copy them."""

from __future__ import annotations

import unicodedata

_NAMES = {"\n": "a line break", "\r": "a line break", "\t": "a tab", "\0": "a NUL", " ": "a space"}


def stray(text: str, *, spaces: bool = True) -> str:
    """
    Name the first character that no header can carry; empty if there is none.

    It is shown, as it is no part of any key; the rest is not.
    """
    for place, char in enumerate(text, 1):
        if not ("!" <= char <= "~" or (spaces and char == " ")):
            name = _NAMES.get(char) or f"{unicodedata.name(char, 'a character').lower()} (U+{ord(char):04X})"
            return f"{name}, as character {place} of {len(text)}"
    return ""
