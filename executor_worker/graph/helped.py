"""Rewriting of CEL expressions: calls of functions of ours, where the library does otherwise than CEL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from executor_worker.graph.expressions import Expression
from executor_worker.graph.macros import COLLECTS

_REPETITION = re.compile(r"\\.|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)
MOST_REPEATED = 1000


def repeats_too_often(pattern: str) -> bool:
    """Tell whether repetitions, multiplied, are over a thousand: RE2 refuses these too, this library takes minutes."""
    product = 1
    for match in _REPETITION.finditer(pattern):
        product *= max((int(number[:9]) for number in match.groups() if number), default=1) or 1
        if product > MOST_REPEATED:
            return True
    return False


_BAD_PATTERN = "("
_BOOLS: dict[bool | str, bool] = {
    **dict.fromkeys((True, "1", "t", "true", "TRUE", "True"), True),
    **dict.fromkeys((False, "0", "f", "false", "FALSE", "False"), False),
}

# Functions of ours inside an expression never raise: the library would write that to stderr.
HELPERS: dict[str, Callable[[Any], Any]] = {
    "of_chars_": lambda value: "x" * len(value) if isinstance(value, str) and not value.isascii() else value,
    "bool_": lambda value: _BOOLS.get(value) if isinstance(value, (bool, str)) else None,
    "bounded_": lambda value: _BAD_PATTERN if isinstance(value, str) and repeats_too_often(value) else value,
}


def helped(text: str, found: Expression, *, sums: bool) -> str:
    """
    Write in what the library does otherwise than CEL.

    Its `size` counts bytes of a text, not characters; a pattern that is computed can't be checked beforehand; it has no
    `bool` (whose answer to anything else is null, and that is no condition).

    Args:
        sums: Bound them too: one that is too large is left out of a list of its own, and is missed there.
    """
    written: list[tuple[int, int, str]] = []  # where, what comes first there, what
    literal = len(found.patterns) == sum(call.name == "matches" for call in found.calls)
    for call in found.calls:
        if call.name == "size" and call.member:
            written.append((call.at, 0, "of_chars_()."))
        elif call.name == "size":
            written += [(call.opens + 1, 0, "of_chars_("), (call.closes, 2, ")")]
        elif call.name == "bool" and not call.member:
            written += [(call.at, 2, "("), (call.opens, 0, "_"), (call.closes + 1, 0, " ? true : false)")]
        elif call.name == "matches" and call.member and not literal:
            written += [(call.opens + 1, 0, "bounded_("), (call.closes, 2, ")")]
    for addition in found.additions if sums else ():
        helper = "kept_" if COLLECTS & set(addition.macros) else "fits_"
        written.append((addition.at, 1, "[" * len(addition.ends)))
        written += [(end, 1, f"].filter(sum_, {helper}(sum_))[0]") for end in addition.ends]
    for at, _, more in sorted(written, reverse=True):
        text = text[:at] + more + text[at:]
    return text
