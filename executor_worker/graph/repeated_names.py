"""Names that stand twice in one object of a JSON text: readers drop all but the last without a word."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from executor_worker.graph.problems import Location, Problem, Problems, named
from executor_worker.json_text import loads_doubting


class _Repeating(dict[str, Any]):
    """An object with the names that stand in it more than once."""

    repeated: list[str]


def read(data: bytes, graph: Location = None) -> tuple[Any, tuple[Problem, ...]]:
    """
    Read one JSON value as `loads` does.

    Args:
        graph: Where the graph stands in it.

    Returns:
        The value, and a problem for each name that stands twice, with its pointer from the value's root.

    Raises:
        ValueError: See `loads`.
    """
    value, doubtful = loads_doubting(data)
    problems = Problems()
    for within, name in _repeated(data) if doubtful else ():
        message = f"{named(name)} stands there twice"
        if within == (graph, "nodes"):
            problems.add((within, name), "duplicate_id", message, "Give each node an id of its own.")
        else:
            problems.add((within, name), "duplicate_name", message, "Leave one of them out.")
    return value, tuple(problems)


def _repeated(data: bytes) -> Iterator[tuple[Location, str]]:
    """Yield each name that stands twice, with the location of its object; those of outer objects come first."""
    try:
        found = json.loads(data, object_pairs_hook=_noting, parse_int=str, parse_float=str)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    left: deque[tuple[Location, Any]] = deque([(None, found)])
    while left:
        location, value = left.popleft()
        if isinstance(value, _Repeating):
            yield from ((location, name) for name in value.repeated)
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        left.extend(((location, key), item) for key, item in inside if isinstance(item, (dict, list)))


def _noting(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    noted, seen = _Repeating(found), set[str]()
    again = dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    noted.repeated = list(again)
    return noted
