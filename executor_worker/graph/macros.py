"""Macros of CEL expressions, and how much work one is: the library copies values where others would point to them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from executor_worker.graph.expressions import Called, Expression, Path

COLLECTS = frozenset({"map", "filter"})
EACH = 8
"""Steps of an element of `all` or `exists`; one step is what it costs to copy a number."""
SUM = 20
"""Steps of a sum that is looked at."""

_MANY = 8
_PART = r"""(?:\s*\.\s*`?([A-Za-z_][\w-]*)\b`?(?!\s*\()|\s*\[\s*(?:"([^"]*)"|'([^']*)')\s*\])"""


@dataclass(frozen=True, slots=True)
class Macro:
    """
    A macro in an expression.

    Attributes:
        outer: The one that it stands in.
        uses: What is used as a whole, once for each element.
        keeps: `map` and `filter` collect elements themselves.
        kept: What of `uses` `map` collects.
        fields: Names of the parts of elements that `map` collects.
        adds: What of it stands in sums.
        sums: How many sums there are for each element.
        sizes: It asks for a size, which takes all that is used to Python.
        copies: How often its variable is named in it.
    """

    name: str
    outer: Macro | None
    uses: tuple[Path, ...]
    adds: tuple[Path, ...]
    sums: int
    keeps: bool
    kept: tuple[Path, ...]
    fields: tuple[str, ...]
    sizes: bool
    copies: int

    def line(self) -> Iterator[Macro]:
        """Yield it and those that it stands in, the innermost first."""
        macro: Macro | None = self
        while macro is not None:
            yield macro
            macro = macro.outer

    def work(
        self,
        longest: int,
        weight: int,
        weight_of: Callable[[Path], int],
        weight_in: Callable[[str], int],
        *,
        bounded: bool,
    ) -> int:
        """
        Reckon its steps.

        Args:
            longest: The most elements a list has that it can go over.
            weight: The values there are in all.
            weight_of: Answers the values in one that is used.
            weight_in: Answers the values in all fields of a name.
            bounded: Sums are taken to Python.
        """
        work, element = 0, weight // longest
        for macro in self.line():
            used = sum(weight_of(path) for path in macro.uses)
            kept = element * macro.keeps + sum(weight_of(path) for path in macro.kept)
            kept += sum(weight_in(name) for name in macro.fields) // longest
            step = longest * max(1, kept) if macro.name in COLLECTS else EACH
            if bounded:
                step += SUM * macro.sums + sum(weight_of(path) for path in macro.adds) * _MANY // 2
            work = longest * (work + step + used * (_MANY if macro.sizes else 1) // 2)
        return work


def macros_of(text: str, found: Expression) -> tuple[Macro, ...]:
    """Find the macros in *text*."""
    made: dict[int, Macro] = {}
    calls = sorted((call for call in found.calls if call.macro), key=lambda call: call.opens)
    for call in calls:
        inside = [each for each in calls if call.opens < each.opens < call.closes]
        outer = [each for each in calls if each.opens < call.at < each.closes]
        made[call.opens] = _macro(text, found, call, inside, made[outer[-1].opens] if outer else None)
    return tuple(made.values())


def _macro(text: str, found: Expression, call: Called, inside: Sequence[Called], outer: Macro | None) -> Macro:
    uses = tuple(
        path
        for path in found.paths
        if call.opens < path.at < call.closes
        and not (path.asked or path.walked)
        and not any(each.opens < path.at < each.closes for each in inside)
    )
    collects = call.name == "map" and not call.answers
    itself = re.search(rf"\b{call.variable}\b(?!\s*[.\[(])", text[call.last : call.closes]) is not None
    kept = tuple(path for path in uses if collects and path.at >= call.last)
    fields = tuple(dict.fromkeys(_fields(text[call.last : call.closes], call.variable))) if collects else ()
    sizes = any(each.name == "size" and call.opens < each.at < call.closes for each in found.calls)
    adds = tuple(path for path in uses if any(each.at <= path.at < each.ends[-1] for each in found.additions))
    sums = [each for each in found.additions if call.opens < each.at < call.closes]
    inner = [each for each in sums if any(one.opens < each.at < one.closes for one in inside)]
    copies = len(re.findall(rf"\b{call.variable}\b", text[call.opens : call.closes])) - 1
    keeps = call.name == "filter" or (collects and itself)
    return Macro(call.name, outer, uses, adds, len(sums) - len(inner), keeps, kept, fields, sizes, copies)


def growth(macros: Iterable[Macro]) -> int:
    """Reckon how many times a value can be in what the macros make of it: each `map` may name it several times."""
    return math.prod(max(1, macro.copies) for macro in macros if macro.name == "map")


def _fields(text: str, variable: str) -> Iterator[str]:
    """Yield the last name of each `x.name` in *text*, but not where a part of it is picked, or a function gets it."""
    for match in re.finditer(rf"(?<![\w.]){variable}({_PART}+)", text):
        before, behind = text[: match.start()].rstrip(), text[match.end() :].lstrip()
        if not behind.startswith((".", "[")) and not re.search(r"\w\s*\($", before):
            yield next(filter(None, re.findall(_PART, match[1])[-1]), "")
