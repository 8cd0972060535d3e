"""
Mappings into a node and out of it by the graph's own words: `input_mapping`, `output_mapping`, `output`.

Names are looked up by the renderer of templates; a path is what stands between a template's braces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from executor_worker.errors import TemplateError
from executor_worker.graph.problems import cut
from executor_worker.graph.prompts import Rendering

_NOTHING = object()
_WRONG = 20  # parts of an output that are told
_SAID = 300  # characters of why
_DEPTH = 20  # levels of an output whose parts are made one by one


def mapped_inputs(mapping: Mapping[str, str], inputs: Mapping[str, Any], scope: Rendering) -> dict[str, Any]:
    """
    Lay what *mapping* names over *inputs*.

    Raises:
        TemplateError: A path leads nowhere.
    """
    laid = {name: scope.value(f"{{{{{path}}}}}", ("input_mapping", name)) for name, path in mapping.items()}
    return {**inputs, **laid}


def mapped_output(mapping: Mapping[str, str], output: Any) -> Any:
    """
    Make a node's output of parts of what it gave; without a mapping it is that.

    Raises:
        TemplateError: A path leads nowhere.
    """
    return {name: _part(output, path, name) for name, path in mapping.items()} if mapping else output


def filled(template: Any, render: Callable[[Any], Any]) -> tuple[Any, dict[str, str]]:
    """
    Make a run's output of its template, as far as that goes: a part that can't be made is null.

    Args:
        render: Renders a part of it, or raises TemplateError; a part that it has refused is asked for in smaller parts.

    Returns:
        The output; and of what could not be made why, by its place.
    """
    wrong: dict[str, str] = {}
    return _filled(template, render, "output", wrong, _DEPTH), wrong


def _filled(template: Any, render: Callable[[Any], Any], where: str, wrong: dict[str, str], depth: int) -> Any:
    try:
        return render(template)
    except TemplateError as error:
        if depth and isinstance(template, dict):
            return {
                name: _filled(part, render, f"{where}.{cut(name)}", wrong, depth - 1) for name, part in template.items()
            }
        if depth and isinstance(template, list):
            return [_filled(part, render, f"{where}[{at}]", wrong, depth - 1) for at, part in enumerate(template)]
        if len(wrong) < _WRONG:
            wrong[where] = cut(str(error).removeprefix("output: "), _SAID)
        return None


def _part(output: Any, path: str, name: str) -> Any:
    parts = path.strip().split(".")
    found = _inside(output, parts)
    if found is _NOTHING and parts[0] == "output":
        found = _inside(output, parts[1:])
    if found is _NOTHING:
        raise TemplateError(
            f"output_mapping.{name}: there is no {path!r} in the output, which has {_described(output)}"
        )
    return found


def _inside(value: Any, parts: Iterable[str]) -> Any:
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif (
            isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(value)
        ):
            value = value[int(part)]
        else:
            return _NOTHING
    return value


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return "the keys " + (", ".join(list(value)[:20]) or "none")[:400]
    return f"{len(value)} items, from 0" if isinstance(value, list) else "nothing inside"
