"""Problems of a graph: each with its location, a code, a sentence and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeAlias

from executor_worker.errors import ExecutorError

MOST_TOLD = 1000
"""Problems of one graph that are kept; the rest is counted."""

_SHOWN = 60
_MOST_SUGGESTED = 50

Location: TypeAlias = "tuple[Location, str | int] | None"
"""A value in the document: the location of what holds it, and its key or position there. None: the document itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Attributes:
        pointer: JSON pointer (RFC 6901) from the graph's root.
        code: A stable word for programs.
        fix: What the author should do, as an imperative sentence.
    """

    pointer: str
    code: str
    message: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """Answer the problem as the wire has it."""
        return {"pointer": self.pointer, "code": self.code, "message": self.message, "fix": self.fix}

    def under(self, prefix: str) -> Problem:
        """Answer the same problem of a graph that stands at *prefix* of a larger document."""
        return Problem(prefix + self.pointer, self.code, self.message, self.fix)


class InvalidGraph(ExecutorError):
    """A document is no graph that can be run; `problems` are all there are."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first.pointer or '/'}: {first.message}{more}")


@dataclass(slots=True)
class Problems:
    """Collect problems; past `MOST_TOLD` they are only counted."""

    _told: list[Problem] = field(default_factory=list)
    _untold: int = 0
    _suggested: int = 0

    def add(self, location: Location, code: str, message: str, fix: str = "") -> None:
        """Tell one more."""
        if len(self._told) < MOST_TOLD:
            self._told.append(Problem(pointer(location), code, message, fix))
        else:
            self._untold += 1

    def __len__(self) -> int:
        return len(self._told) + self._untold

    def __iter__(self) -> Iterator[Problem]:
        yield from self._told
        if self._untold:
            yield Problem("", "more_problems", "there are more problems, which are not listed", "Mend these first.")

    @property
    def full(self) -> bool:
        """Tell whether further problems are only counted: no need to look for all of them."""
        return len(self._told) >= MOST_TOLD

    def suggest(self, value: Any, words: Iterable[str]) -> str | None:
        """Find the word that *value* was probably meant to be; only for the first few, as it takes its time."""
        self._suggested += 1
        if self._suggested > _MOST_SUGGESTED or not isinstance(value, str) or len(value) > _SHOWN:
            return None
        near = get_close_matches(value.lower(), list(islice(words, _MOST_SUGGESTED * 5)), n=1, cutoff=0.6)
        return near[0] if near else None

    def has_at(self, location: Location) -> bool:
        """Tell whether a problem was told of just this place."""
        at = pointer(location)
        return any(problem.pointer == at for problem in self._told)

    def has(self, code: str) -> bool:
        """Tell whether a problem of this kind was told."""
        return any(problem.code == code for problem in self._told)


def pointer(location: Location) -> str:
    """Write *location* as a JSON pointer."""
    parts: list[str] = []
    while location is not None:
        location, key = location
        parts.append(str(key))
    parts.reverse()
    if "~" in (text := "/".join(parts)) or text.count("/") >= len(parts):
        text = "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
    return f"/{text}" if parts else ""


def shown(value: Any) -> str:
    """Describe *value* in a few words, whatever its size."""
    if isinstance(value, str):
        return f'the text "{cut(value)}"' if value else "an empty text"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() < 200 else "a very large number"
    if isinstance(value, float):
        return f"{value:g}"
    return "an object" if isinstance(value, dict) else "a list"


def named(name: str) -> str:
    """Write an id for a message."""
    return f'"{cut(name)}"'


def cut(text: str, chars: int = _SHOWN) -> str:
    """Cut *text* to *chars* for a message."""
    return text if len(text) <= chars else text[: chars - 1] + "…"
