"""
YAML as people write graphs in it: what JSON can hold, by the words of YAML 1.2.

YAML 1.1, which the library reads, takes `on`, `yes` and `no` for true and false, `12:30` for a number and
`2026-01-02` for a date: an edge's `on: failure` would be no field at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

MOST_VALUES = 2_000_000
"""With what aliases stand for counted each time: nine lines can name a thousand million values."""

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"

_Pair = tuple[yaml.ScalarNode, yaml.Node]


class _Loader(yaml.SafeLoader):
    """Reads null, true, false and numbers as JSON and YAML 1.2 do, all other words as texts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # the library's own way to begin anew

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._flat: set[int] = set()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make every key a text, as it stands there; what `<<` brings along counts less than what stands beside it."""
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Lay a node's own keys, none of which may stand there twice, over what its `<<` names; the first counts."""
        if id(node) in self._flat:
            return
        self._flat.add(id(node))
        own: dict[str, _Pair] = {}
        merged: dict[str, _Pair] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a key must be a text, line {key.start_mark.line + 1}")
            if key.value in own:
                raise yaml.YAMLError(f"{key.value!r} stands there twice, line {key.start_mark.line + 1}")
            if key.tag == _MERGE:
                for pair in self._merged(value):
                    merged.setdefault(pair[0].value, pair)
            else:
                own[key.value] = (key, value)
        node.value = list({**merged, **own}.values())

    def _merged(self, value: yaml.Node) -> Iterator[_Pair]:
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise yaml.YAMLError(f"<< must name mappings, line {source.start_mark.line + 1}")
            self.flatten_mapping(source)
            yield from (pair for pair in source.value if pair[0].tag != _MERGE)  # one that merges itself still has it


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
