"""The built-in tool `json_query`: take values out of JSON by a path."""

from __future__ import annotations

import json
import re
from typing import Any

_MOST_STEPS = 200
_MOST_VALUES = 10_000

_STEP = re.compile(
    r"""\.?(?P<all>\*)                            # .*
      | \.?(?P<name>[^\s.\[\]*"']+)               # .name
      | \[\s*(?:
            (?P<star>\*)                          # [*]
          | (?P<index>-?\d{1,9})                  # [0], [-1]
          | (?P<quoted>"(?:[^"\\]|\\.)*"|'[^']*')   # ["a name"]
        )\s*\]""",
    re.VERBOSE,
)


class BadPath(ValueError):
    """The error of a path, worded for its author."""


def json_query(data: Any, path: str) -> Any:
    """
    Take a value out of JSON data by its path; null if there is none.

    A path is `items[0].name`, or a JSON pointer such as `/items/0/name`. `*` stands for every element or value:
    `items[*].name` gives a list. `["a name"]` takes names with dots or spaces, `[-1]` the last element.

    Args:
        data: The data; a text is read as JSON first.
        path: The path; empty for all of the data.
    """
    if isinstance(data, str):
        data = _read(data)
    steps = _pointer(path) if path.startswith("/") else _steps(path)
    if len(steps) > _MOST_STEPS:
        raise BadPath(f"a path may have {_MOST_STEPS} steps at most")
    values, many = [data], False
    for step in steps:
        many = many or step is None
        values = [found for value in values for found in _take(value, step)]
        if len(values) > _MOST_VALUES:
            raise BadPath(f"the path matches more than {_MOST_VALUES} values")
    if many:
        return values
    return values[0] if values else None


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _pointer(path: str) -> list[str | int | None]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    return [None if part == "*" else part for part in parts]


def _steps(path: str) -> list[str | int | None]:
    text = path.strip().removeprefix("$")
    steps: list[str | int | None] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise BadPath(f"the path can't be read from {text[position : position + 20]!r} on")
        position = match.end()
        steps.append(_step(match))
    return steps


def _step(match: re.Match[str]) -> str | int | None:
    if match["all"] or match["star"]:
        return None
    if match["index"]:
        return int(match["index"])
    if match["quoted"]:
        quoted = match["quoted"]
        return str(json.loads(quoted)) if quoted[0] == '"' else quoted[1:-1]
    return match["name"]


def _take(value: Any, step: str | int | None) -> list[Any]:
    if step is None:
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if isinstance(value, dict):
        return [value[str(step)]] if str(step) in value else []
    if isinstance(value, list) and re.fullmatch(r"-?\d{1,9}", str(step)):
        index = int(step)
        return [value[index]] if -len(value) <= index < len(value) else []
    return []
