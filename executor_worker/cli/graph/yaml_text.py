"""
YAML as people write graphs in it: what JSON can hold, by the words of YAML 1.2.

YAML 1.1, which the library reads, takes `on`, `yes` and `no` for true and false, `12:30` for a number and
`2026-01-02` for a date: an edge's `on: failure` would be no field at all.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_VALUES = 2_000_000
"""With what aliases stand for counted each time: nine lines can name a thousand million values."""

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Reads null, true, false and numbers as JSON and YAML 1.2 do, all other words as texts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # the library's own way to begin anew

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make every key a text, as it stands there."""
        self.flatten_mapping(node)
        made: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a key must be a text, line {key.start_mark.line + 1}")
            if key.value in made:
                raise yaml.YAMLError(f"{key.value!r} stands there twice, line {key.start_mark.line + 1}")
            made[key.value] = self.construct_object(value, deep=deep)
        return made


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)\Z", "~nN\0"),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)\Z", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", "-+.0123456789"),
    ("merge", r"<<\Z", "<"),
):
    first = [*_first.replace("\0", ""), ""] if _tag == "null" else list(_first)
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(_pattern), first)


def loads(raw: bytes) -> Any:
    """
    Read one YAML document.

    Raises:
        ValueError: It is none, holds what JSON can't, or is far larger than it looks.
    """
    try:
        value = yaml.load(raw, _Loader)  # derived from SafeLoader
        _measure(value, {})
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    return value


def _measure(value: Any, known: dict[int, int]) -> int:
    """Count the values in *value*, those behind an alias each time."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES  # an alias to what it stands in never ends
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_measure(one, known) for one in inside)
    if known[id(value)] >= MOST_VALUES:
        raise ValueError("it holds more than it can: an alias stands for too much")
    return known[id(value)]
