"""
Conditions in CEL, compiled once and asked often; the only file that knows the library.

Bounded by size, never by time, so that a slow day takes no other branch: `MOST_CHARS` of text, two macros inside
one another, and values within `condition_bounds`. Beyond that it is always an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import files
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

from executor_worker.graph import expressions
from executor_worker.graph.condition_bounds import ConditionError, Sizes, Sums
from executor_worker.graph.expressions import Addition, Expression, Path
from executor_worker.graph.helped import HELPERS, MOST_REPEATED, helped, repeats_too_often
from executor_worker.graph.macros import Macro, growth, macros_of

__all__ = ["MOST_CHARS", "ROOTS", "Condition", "ConditionError"]

ROOTS = ("inputs", "nodes", "output", "state")
"""The names an expression may begin with."""

MOST_CHARS = 4 * 1024

_REMEMBERED = 4096
_MOST_GROWTH = 256
_MOST_NESTED = 80  # brackets that the library is sure to take inside one another


def _extension() -> ModuleType:
    """
    Load the library's extension module alone.

    Its package imports a command line with a terminal toolkit: a tenth of a second at each start, for nothing.
    """
    named = (file for file in files("common-expression-language") or () if re.match(r"cel/cel\..*so\Z", str(file)))
    loader = ExtensionFileLoader("cel.cel", str(next(named).locate()))
    spec = spec_from_loader("cel.cel", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


_CEL = _extension()

Names = dict[str, "Names | None"]
"""Part of a path → the parts below it; None: the whole value is used; none: only asked for by `has`."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that is true or false."""

    text: str
    paths: tuple[Path, ...]
    _program: Any = field(repr=False, compare=False)
    _names: Names = field(repr=False, compare=False)
    _macros: tuple[Macro, ...] = field(repr=False, compare=False)
    _helped: bool = field(repr=False, compare=False)
    _additions: tuple[Addition, ...] = field(repr=False, compare=False)
    _bounded: str = field(repr=False, compare=False)

    @staticmethod
    def compile(text: str) -> Condition:
        """
        Read *text*; the same text again costs nothing.

        Raises:
            ConditionError: It is no CEL, too large, or calls or names what there is not.
        """
        if len(text) > MOST_CHARS or len(text.encode("utf-8", "surrogatepass")) > MOST_CHARS:
            fix = "Split it over several rules or edges, or compute it in a node before."
            raise ConditionError(f"is longer than {MOST_CHARS:,} bytes", fix=fix)
        return _compiled(text)

    def names(self) -> tuple[Path, ...]:
        """Answer what it mentions, with the paths as far as they stand in the text."""
        return self.paths

    def holds(self, scope: Mapping[str, Any]) -> bool:
        """
        Evaluate it over *scope*, of which only what it names is looked at.

        Raises:
            ConditionError: A name is missing, an operation does not fit its operands, a value is too large, or the
                result is neither true nor false.
        """
        result = self._evaluate(scope)
        if not isinstance(result, bool):
            raise ConditionError(f"is {_kind(result)}, not true or false", fix="Compare it with something.")
        return result

    def _evaluate(self, scope: Mapping[str, Any]) -> Any:
        sizes = Sizes()
        seen = _pruned(scope, self._names, sizes, "", 0)
        bounded = bool(self._additions) and sizes.add_up_to_much(
            self.text, self.paths, self._additions, self._macros, seen
        )
        sizes.check_work(self._macros, seen, bounded=bounded)
        if not bounded:
            return _execute(self._program, {**seen, **HELPERS} if self._helped else seen)
        sums = Sums(max(sizes.longest, self.text.count(",") + 1))
        try:
            return _execute(
                _compile_helped(self._bounded), {**seen, **HELPERS, "fits_": sums.fits, "kept_": sums.kept_fits}
            )
        except ConditionError:
            if sums.problem:
                raise ConditionError(sums.problem, fix="Compute it in a node before.") from None
            raise


def _execute(program: Any, seen: Mapping[str, Any]) -> Any:
    try:
        return program.execute(seen)
    except KeyError as error:
        raise ConditionError(f"there is no {str(error.args[0])!r}", fix="Ask with has() first.") from None
    except Exception as error:  # noqa: BLE001  # the library's errors have no class of their own
        raise ConditionError(_first_sentence(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library's own, no Exception
            raise
        raise ConditionError("can't be evaluated") from None


@lru_cache(maxsize=_REMEMBERED)
def _compiled(text: str) -> Condition:
    found = _read(text)
    try:
        program = _CEL.compile(text)
    except Exception as error:  # noqa: BLE001  # the library's errors have no class of their own
        raise _syntax(error, text) from None
    _check_functions(found)
    _check_patterns(found)
    plain, bounded = (helped(text, found, sums=sums) for sums in (False, True))
    program = _compile_helped(plain) if plain != text else program
    if sum(map(bounded.count, "([{")) > _MOST_NESTED:
        _compile_helped(bounded)
    macros = macros_of(text, found)
    if growth(macros) > _MOST_GROWTH:
        raise ConditionError(f"makes more than {_MOST_GROWTH} values of one", fix="Compute it in a node before.")
    names, additions = _tree(found.paths), tuple(found.additions)
    return Condition(text, tuple(found.paths), program, names, macros, plain != text, additions, bounded)


@lru_cache(maxsize=_REMEMBERED)
def _compile_helped(text: str) -> Any:
    try:
        return _CEL.compile(text)
    except Exception:  # noqa: BLE001  # the library's errors have no class of their own
        raise ConditionError("adds within too many brackets", fix="Compute it in a node before.") from None


def _read(text: str) -> Expression:
    try:
        return expressions.read(text)
    except expressions.Unreadable as error:
        raise ConditionError(str(error), error.at + 1, "Write it in CEL.") from None


_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")


def _syntax(error: Exception, text: str) -> ConditionError:
    """Take line, column and sentence out of what the library says."""
    place = _PLACE.search(str(error))
    if place is None:
        return ConditionError(_first_sentence(error), fix="Write it in CEL.")
    lines = text.split("\n")[: int(place[1]) - 1]
    column = sum(len(line) + 1 for line in lines) + int(place[2])
    return ConditionError(place[3].partition(" expecting ")[0], column, "Write it in CEL.")


def _check_functions(found: Expression) -> None:
    for call in found.calls:
        if call.name not in expressions.FUNCTIONS and not call.macro:
            fix = "Use CEL's own: contains, startsWith, endsWith, matches, size, has, int, double, string, timestamp, …"
            raise ConditionError(f"there is no function {call.name}()", call.at + 1, fix)


def _check_patterns(found: Expression) -> None:
    for pattern, at in found.patterns:
        if repeats_too_often(pattern):
            raise ConditionError(f"repeats more than {MOST_REPEATED} times", at + 1, "Write smaller repetitions.")


def _tree(paths: Iterable[Path]) -> Names:
    tree: Names = {}
    for path in paths:
        level: Names | None = tree
        for part in path.parts[:-1]:
            level = level.setdefault(part, {}) if level is not None else None
        if level is not None and path.asked:
            level.setdefault(path.parts[-1], {})
        elif level is not None:
            level[path.parts[-1]] = None
    return tree


def _pruned(value: Any, names: Names | None, sizes: Sizes, where: str, depth: int) -> Any:
    """Leave out of *value* what the expression does not reach for, and check the size of all else."""
    if names is not None and isinstance(value, Mapping):
        inside = ((name, below) for name, below in names.items() if name in value)
        return {name: _pruned(value[name], below, sizes, name, depth + 1) for name, below in inside}
    if names == {}:
        return None
    sizes.check(value, where, depth)
    return value


def _kind(value: Any) -> str:
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "a text"),
        ((int, float), "a number"),
        (list, "a list"),
        (dict, "an object"),
    )
    return "null" if value is None else next((name for kind, name in names if isinstance(value, kind)), "a value")


def _first_sentence(error: BaseException) -> str:
    first = str(error).split("\n", 1)[0]
    sentence, stop, _ = first.partition(". ")
    return (sentence + stop).strip() or type(error).__name__
