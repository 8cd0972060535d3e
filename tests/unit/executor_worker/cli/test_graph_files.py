"""Graphs in YAML mean what they seem to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from executor_worker.cli.exits import Quit
from executor_worker.cli.graph import reading, yaml_text

KL = {"k": 1, "l": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{from: a, to: b, on: failure}", {"from": "a", "to": "b", "on": "failure"}),
        ("[yes, no, on, off, y, n]", ["yes", "no", "on", "off", "y", "n"]),
        ("[true, false, null, ~, True]", [True, False, None, None, True]),
        ("a:\nb: ''", {"a": None, "b": ""}),
        ("[1, -2, 1.5, 1e3, .5, 017, 0x10, 1_000]", [1, -2, 1.5, 1000.0, 0.5, "017", "0x10", "1_000"]),
        ("[12:30, 2026-01-02, 1.2.3, 90s]", ["12:30", "2026-01-02", "1.2.3", "90s"]),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}", {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}}),
        (
            "a: &x {k: 1, l: 1}\nb: &y {<<: *x, k: 2}\nc: {k: 3, <<: *y}",
            {"a": KL, "b": {**KL, "k": 2}, "c": {**KL, "k": 3}},
        ),
        (
            "a: &x {k: 1, l: 1}\nb: &y {<<: *x, k: 2}\nc: {<<: [*y, *x]}",
            {"a": KL, "b": {**KL, "k": 2}, "c": {**KL, "k": 2}},
        ),
        ("a: {b: &y {<<: &x {k: 1}, l: 1}, c: {<<: *y, k: 2}}", {"a": {"b": KL, "c": {**KL, "k": 2}}}),
        ("|\n  two\n  lines", "two\nlines"),
        ("", None),
    ],
)
def test_yaml_is_read_by_its_newer_words(text: str, value: Any) -> None:
    assert yaml_text.loads(text.encode()) == value


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * 10)}]\n" for at in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "while parsing"),
        ("a: 1\na: 2", "stands there twice"),
        ("a: &x {k: 1}\nb: {<<: *x, l: 1, l: 2}", "'l' stands there twice, line 2"),
        ("a: {<<: 3}", "must name mappings, line 1"),
        ("[a]: 1", "must be a text"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("a: &a [*a]", "an alias stands for too much"),
        (LAUGHS, "an alias stands for too much"),
        ("[" * 1000, "nested too deeply"),
        ("\x00", "unacceptable character"),
    ],
)
def test_what_is_no_yaml_for_a_graph_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        yaml_text.loads(text.encode())


def test_a_name_that_stands_twice_in_json_is_refused(tmp_path: Path) -> None:
    """As in YAML; what Python reads would have one of the two nodes."""
    file = tmp_path / "graph.json"
    file.write_text('\ufeff{"nodes": {"a": {"type": "start"}, "b": {"v": 1e999, "w": [{}]}}}')
    assert reading.read_value(str(file))["nodes"].keys() == {"a", "b"}
    file.write_text('{"nodes": {"a": {"type": "start"}, "b": {}, "a": {"type": "end"}}}')
    with pytest.raises(Quit, match=r'"a" stands there twice .*/nodes/a'):
        reading.read_value(str(file))
