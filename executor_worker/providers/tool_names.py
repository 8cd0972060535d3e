"""Any name ↔ the names a model's API takes: of tools, and of their parameters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

MARK_CHARS = 8
ALLOWED = "a-zA-Z0-9_-"


class ToolNames:
    """
    A one-to-one mapping for the names of one request.

    A name that the API takes stays itself. Others have their odd characters replaced, and get a mark of their own
    if that makes them too long or the same as another. The mapping depends on the set of names only, so that a
    conversation can go on in another process.

    Args:
        longest: How many characters the API allows.
        allowed: Which, as in the brackets of a regular expression.
    """

    def __init__(self, names: Iterable[str], longest: int, allowed: str = ALLOWED) -> None:
        names = sorted(set(names))
        fits, odd = re.compile(rf"[{allowed}]{{1,{longest}}}"), re.compile(rf"[^{allowed}]")
        self._wire = {name: name for name in names if fits.fullmatch(name)}
        taken = set(self._wire)
        for name in names:
            if name in self._wire:
                continue
            wire = odd.sub("_", name)
            if len(wire) > longest or not wire or wire in taken:
                wire = _marked(name, wire, longest, taken)
            self._wire[name] = wire
            taken.add(wire)
        self._name = {wire: name for name, wire in self._wire.items()}

    def to_wire(self, name: str) -> str:
        return self._wire.get(name, name)

    def from_wire(self, wire: str) -> str:
        """The tool's own name; *wire* itself if the model made one up."""
        return self._name.get(wire, wire)


def _marked(name: str, wire: str, longest: int, taken: set[str]) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    marks = (digest[start : start + MARK_CHARS] for start in range(len(digest) - MARK_CHARS))
    stem = wire[: longest - MARK_CHARS - 1]
    return next(marked for mark in marks if (marked := f"{stem}_{mark}") not in taken)
