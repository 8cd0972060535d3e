"""
Read one field of a node's config: its value, or None if it is missing or null.

All take the object it stands in, its name, and what to put before the name in a message, and raise
`InvalidNode` saying what was found where its type is wrong.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from executor_worker.errors import InvalidNode
from executor_worker.nodes.templates import short

_LARGEST = sys.float_info.max


def text(config: dict[str, Any], name: str, within: str = "") -> str | None:
    value = config.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidNode(f"{within}{name} must be a text, found {found(value)}")


def mapping(config: dict[str, Any], name: str, within: str = "") -> dict[str, Any] | None:
    value = config.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise InvalidNode(f"{within}{name} must be an object, found {found(value)}")


def number(
    config: dict[str, Any], name: str, within: str = "", *, above: float | None = None, limit: float = _LARGEST
) -> float | None:
    value = config.get(name)
    if value is None:
        return None
    finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not finite:
        raise InvalidNode(f"{within}{name} must be a number, found {found(value)}")
    if above is not None and value <= above:
        raise InvalidNode(f"{within}{name} must be more than {above:g}, found {found(value)}")
    return float(max(-limit, min(value, limit)))


def integer(config: dict[str, Any], name: str, within: str = "") -> int | None:
    value = config.get(name)
    if value is None:
        return None
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 1:
        raise InvalidNode(f"{within}{name} must be a whole number of at least 1, found {found(value)}")
    return int(value)


def choice(config: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    value = config.get(name)
    if value is None:
        return choices[0]
    if value not in choices:
        raise InvalidNode(f"{name} must be one of {', '.join(choices)}, found {found(value)}")
    return str(value)


def found(value: Any) -> str:
    """Describe *value* for a message, in a few words whatever its size."""
    if isinstance(value, str):
        return f'the text "{short(value, 40)}"' if value else "an empty text"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() < 200 else "a very large number"
    if isinstance(value, float):
        return str(value)
    return "an object" if isinstance(value, dict) else "a list"
