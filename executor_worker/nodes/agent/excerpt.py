"""Parts of a long text, for a model that can't be given all of it: a beginning, a page, the places of a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

_LEAST_SHARE = 0.8
_AROUND_CHARS = 150
_PLACES = 20


def page_end(text: str, start: int, chars: int) -> int:
    """
    Say where a page of at most *chars* that begins at *start* should end.

    After a line where one ends in its last fifth, else between words, else anywhere.
    """
    end = start + chars
    if end >= len(text):
        return len(text)
    least = start + max(int(chars * _LEAST_SHARE), 1)
    for mark in ("\n", " "):
        found = text.rfind(mark, least - 1, end)
        if found >= 0:
            return found + 1
    return end


def places(text: str, sought: str, start: int, chars: int) -> tuple[str, int | None]:
    """
    Show where *sought*, in any case, is in *text*, each place with what is around it.

    Returns:
        At most *chars* of that, and the offset from which to look for more; None: there is no more.
    """
    shown: list[str] = []
    left = chars
    found = _found(text, sought, start)
    for at, end in islice(found, _PLACES):
        line = f"at {at}: …{text[max(at - _AROUND_CHARS, 0) : end + _AROUND_CHARS]}…"
        if len(line) + 1 > left:
            if not shown:
                return line[:chars], end
            return "\n".join(shown), at
        shown.append(line)
        left -= len(line) + 1
    more = next(found, None)
    return "\n".join(shown), more[0] if more else None


def _found(text: str, sought: str, start: int) -> Iterator[tuple[int, int]]:
    return (match.span() for match in re.compile(re.escape(sought), re.IGNORECASE).finditer(text, start))
