"""Helpers of a router's prompt: `{{helper argument …}}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from executor_worker.errors import TemplateError


@dataclass(frozen=True, slots=True)
class Helper:
    """A function of a fixed number of arguments."""

    arguments: int
    function: Callable[..., Any]

    def apply(self, values: list[Any]) -> Any:
        """Call it."""
        return self.function(*values)


def as_text(value: Any) -> str:
    """Write a value: texts as they are, null as nothing, all else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise TemplateError("prompt_template: a value can't be written as JSON") from None


def is_true(value: Any) -> bool:
    """Tell whether a block takes *value* for true: not null, false, zero, or empty."""
    return bool(value)


def _equal(one: Any, two: Any) -> bool:
    """Compare as JSON does: 5 is 5.0, true is not 1."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    return bool(one == two)


def _ordered(less: Any, more: Any) -> bool:
    """Tell whether *less* is less than *more*; False if they can't be compared."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (less, more))
    texts = isinstance(less, str) and isinstance(more, str)
    return bool(less < more) if numbers or texts else False


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, str):
        return as_text(part) in value
    return part in value if isinstance(value, (list, dict)) and isinstance(part, (str, int, float)) else False


def _join(values: Any, between: Any) -> str:
    if not isinstance(values, list):
        return as_text(values)
    return as_text(between).join(as_text(value) for value in values)


def _lookup(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(as_text(key))
    usable = isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value)
    return value[key] if usable else None


HELPERS: dict[str, Helper] = {
    "uppercase": Helper(1, lambda value: as_text(value).upper()),
    "lowercase": Helper(1, lambda value: as_text(value).lower()),
    "trim": Helper(1, lambda value: as_text(value).strip()),
    "default": Helper(2, lambda value, otherwise: otherwise if value is None or value == "" else value),
    "eq": Helper(2, _equal),
    "equal": Helper(2, _equal),
    "ne": Helper(2, lambda one, two: not _equal(one, two)),
    "gt": Helper(2, lambda one, two: _ordered(two, one)),
    "lt": Helper(2, _ordered),
    "contains": Helper(2, _contains),
    "join": Helper(2, _join),
    "len": Helper(1, lambda value: len(value) if isinstance(value, (str, list, dict)) else 0),
    "lookup": Helper(2, _lookup),
    "log": Helper(1, lambda value: ""),  # the original wrote it to its log: prompts are in none of ours
}
