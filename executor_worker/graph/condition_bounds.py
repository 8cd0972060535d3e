"""
Bounds of conditions, by the sizes of what they see and make.

Lists and objects of `MOST_ITEMS`, texts of `MOST_TEXT`; beyond that it is always an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from executor_worker.errors import ExecutorError
from executor_worker.graph.expressions import Addition, Path
from executor_worker.graph.macros import COLLECTS, Macro

MOST_ITEMS = 10_000
MOST_TEXT = 1024 * 1024
MOST_DEPTH = 200

_ENTRY = 3  # of an object, copied with its name
_MOST_ADDED = 64 * MOST_TEXT
_NUMBER = 64  # characters of a number or a time as a text
_SHORT_TEXT = 1024
_KEPT_TEXT = 255  # it costs no more than a number to copy it
_MOST_WORK = MOST_ITEMS**2 + 1


class ConditionError(ExecutorError):
    """
    An expression can't be compiled, or raised when it was evaluated.

    Attributes:
        column: Where in the text, from 1; None if that is unknown.
        fix: What its author should do.
    """

    def __init__(self, message: str, column: int | None = None, fix: str = "") -> None:
        super().__init__(message)
        self.column = column
        self.fix = fix


@dataclass(slots=True)
class Sizes:
    """Measure the values that an expression sees, and bound what its macros may cost over them."""

    longest: int = 1
    longest_inside: int = 1
    longest_text: int = 0
    weight: int = 0

    def check(self, value: Any, where: str, depth: int) -> None:
        """Look at all of *value*."""
        if isinstance(value, str):
            self.longest_text = max(self.longest_text, len(value))
            self.weight += len(value) >> 8
            if len(value) > MOST_TEXT // 4 and len(value.encode("utf-8", "surrogatepass")) > MOST_TEXT:
                raise ConditionError(f"{where!r} holds a text of more than {MOST_TEXT:,} bytes")
        elif isinstance(value, (list, dict)):
            self.longest = max(self.longest, len(value))
            self.weight += len(value) * (1 if isinstance(value, list) else _ENTRY)
            if len(value) > MOST_ITEMS:
                raise ConditionError(f"{where!r} holds a list or an object of more than {MOST_ITEMS:,} items")
            if depth > MOST_DEPTH:
                raise ConditionError(f"{where!r} is nested more than {MOST_DEPTH} deep")
            for item in value.values() if isinstance(value, dict) else value:
                if isinstance(item, (str, list, dict)):
                    if isinstance(item, list):
                        self.longest_inside = max(self.longest_inside, len(item))
                    self.check(item, where, depth + 1)

    def add_up_to_much(
        self,
        text: str,
        paths: Iterable[Path],
        additions: Iterable[Addition],
        macros: Iterable[Macro],
        seen: Mapping[str, Any],
    ) -> bool:
        """Tell whether a sum in *text* may be long, if each is made of the ones before: only then each is looked at."""
        factor = math.prod(addition.operands for addition in additions)
        longest_text = max(self.longest_text, _NUMBER, len(text) if "'" in text or '"' in text else 0)
        kept = any(each.name in COLLECTS for each in macros)
        if longest_text * factor > (_KEPT_TEXT if kept else _SHORT_TEXT):
            return True
        items = max(self.longest if kept else self.longest_inside, text.count(",") + 1)
        whole = (_at(seen, path) for path in paths if not (path.asked or path.walked))
        return max([items, *(len(value) for value in whole if isinstance(value, list))]) * factor > MOST_ITEMS

    def check_work(self, macros: Iterable[Macro], seen: Mapping[str, Any], *, bounded: bool) -> None:
        """
        Refuse macros that would take more than some seconds over the longest list there is.

        Each copies all that it uses for each element; `map` and `filter` copy their result too, so they cost its
        square.
        """

        def weight_of(path: Path) -> int:
            return _weight(_at(seen, path))

        def weight_in(name: str) -> int:
            return _weight_in(seen, name)

        for macro in macros:
            if macro.work(self.longest, self.weight, weight_of, weight_in, bounded=bounded) > _MOST_WORK:
                line = [each.name for each in macro.line()]
                message = f"{' in '.join(line)} over {self.longest:,} items takes too many steps"
                raise ConditionError(message, fix="Compute it in a node before, or make the list shorter.")


@dataclass(slots=True)
class Sums:
    """
    Bound the texts and lists that one evaluation makes by adding.

    Attributes:
        longest: The most elements of a list that a macro goes over: so often is copied what it collects.
        problem: Why the last sum that did not fit did not; empty: all did.
    """

    longest: int
    problem: str = ""
    _bytes: int = 0
    _work: int = 0

    def fits(self, value: Any) -> bool:
        """Tell whether a sum is within the bounds."""
        if isinstance(value, list):
            return len(value) <= MOST_ITEMS or self._refuse(f"adds up to a list of more than {MOST_ITEMS:,} items")
        size = _bytes_of(value)
        self._bytes += size if size > _SHORT_TEXT else 0
        if size > MOST_TEXT:
            return self._refuse(f"adds up to a text of more than {MOST_TEXT:,} bytes")
        return self._bytes <= _MOST_ADDED or self._refuse("adds long texts too often")

    def kept_fits(self, value: Any) -> bool:
        """Tell the same of a sum that a macro may collect."""
        size = _bytes_of(value)
        self._bytes += size if size <= _SHORT_TEXT else 0
        self._work += self.longest * (size >> 7)
        return self.fits(value) and (self._work <= _MOST_WORK or self._refuse("collects long texts too often"))

    def _refuse(self, problem: str) -> bool:
        self.problem = problem
        return False


def _bytes_of(value: Any) -> int:
    if isinstance(value, str) and not value.isascii():
        return len(value.encode("utf-8", "surrogatepass"))
    return len(value) if isinstance(value, (str, bytes)) else 0


def _at(scope: Any, path: Path) -> Any:
    for part in path.parts:
        scope = scope.get(part) if isinstance(scope, Mapping) else None
    return scope


def _weight(value: Any) -> int:
    """Count the values in *value*; of a text, what it takes to copy it."""
    if isinstance(value, str):
        return len(value) >> 12
    if not isinstance(value, (list, Mapping)):
        return 0
    inside = value.values() if isinstance(value, Mapping) else value
    return len(value) + sum(_weight(each) for each in inside if isinstance(each, (str, list, dict)))


def _weight_in(value: Any, name: str) -> int:
    """Count the values in all fields *name* of the objects in *value*."""
    inside = value.values() if isinstance(value, Mapping) else value
    own = _weight(value.get(name)) if isinstance(value, Mapping) else 0
    return own + sum(_weight_in(each, name) for each in inside if isinstance(each, (list, dict)))
