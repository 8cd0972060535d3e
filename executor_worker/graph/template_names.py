"""Names in templates: found without rendering them, each with the place it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from executor_worker.graph.problems import Location


def template_names(value: Any, location: Location = None) -> Iterator[tuple[Location, str]]:
    """Yield the names in all texts of *value*, at any depth, each with its location."""
    if isinstance(value, str):
        for name in names_in(value):
            yield location, name
        return
    waiting: list[tuple[Location, Any]] = [(location, value)]
    while waiting:
        at, one = waiting.pop()
        if isinstance(one, str):
            yield from ((at, name) for name in names_in(one))
        elif isinstance(one, dict):
            waiting += [((at, key), item) for key, item in one.items() if isinstance(item, (str, dict, list))]
        elif isinstance(one, list):
            waiting += [((at, index), item) for index, item in enumerate(one) if isinstance(item, (str, dict, list))]


def names_in(template: str) -> Iterable[str]:
    """Answer each name in a text once, as the renderer splits it."""
    if "{{" not in template:
        return ()
    pieces = template.split("}}")[:-1]
    return dict.fromkeys(piece.rpartition("{{")[2].strip() for piece in pieces if "{{" in piece)
