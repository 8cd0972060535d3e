"""Names that stand twice in an object of a JSON text."""

from __future__ import annotations

import pytest

from executor_worker.graph import repeated_names
from executor_worker.graph.problems import Location

BODY: Location = (None, "graph")


@pytest.mark.parametrize(
    ("text", "graph", "found"),
    [
        ('{"nodes": {"a": {"type": "start"}, "b": {"a": 1e999}}, "a": 12345678901234567890}', None, []),
        ('{"nodes": {"a": 1, "b": 2, "a": 3, "a": 4, "b": 5}}', None,
         ["/nodes/a duplicate_id", "/nodes/b duplicate_id"]),
        ('{"graph": {"nodes": {"a": 1, "a": 1}}}', BODY, ["/graph/nodes/a duplicate_id"]),
        ('{"graph": {}, "nodes": {"a": 1, "a": 1}}', BODY, ["/nodes/a duplicate_name"]),
        ('{"a": 1, "a": 1e999}', None, ["/a duplicate_name"]),
        ('{"a": 1, "a": %s}' % ("9" * 4001), None, ["/a duplicate_name"]),
        ('{"x": [0, {"y/~": {"b": 1, "b": 2}}], "x": [1, {"z/": {"b": 1, "b": 2}}]}', None,
         ["/x duplicate_name", "/x/1/z~1/b duplicate_name"]),
    ],
)  # fmt: skip
def test_each_is_told_with_its_place(text: str, graph: Location, found: list[str]) -> None:
    """Outer ones first; what is inside of one that was dropped is gone with it."""
    _, problems = repeated_names.read(text.encode(), graph)
    assert [f"{one.pointer} {one.code}" for one in problems] == found
    assert all(one.message.endswith("stands there twice") and one.fix for one in problems)


def test_very_many_are_not_listed() -> None:
    """As of all problems."""
    pairs = ",".join(f'"n{at}":{{}},"n{at}":{{}}' for at in range(3000))
    _, problems = repeated_names.read(f'{{"nodes":{{{pairs}}}}}'.encode())
    assert len(problems) == 1001 and problems[-1].code == "more_problems"


def test_what_is_nested_too_deeply_is_not_read() -> None:
    """Names in it, or beside it, could stand there twice, and nobody would see it."""
    with pytest.raises(ValueError, match="nested too deeply"):
        repeated_names.read(b'{"a":%b, "a":1}' % (b"[" * 1000 + b"]" * 1000))
