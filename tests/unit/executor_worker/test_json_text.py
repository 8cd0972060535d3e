"""JSON text of values that other programs hand over."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from executor_worker.client import DagoClient
from executor_worker.json_text import dumps_exactly, loads, loads_doubting


@pytest.mark.parametrize("value", [None, [None, {"a": "null"}], 2**70, 1.0, "\ud800", {"a": [True, {}]}])
def test_what_is_json_is_written(value: Any) -> None:
    """Nothing at all, huge integers and half characters included."""
    assert dumps_exactly(value)


@pytest.mark.parametrize("value", [float("nan"), [1, {"a": float("inf")}], {"a": None, "b": -float("inf")}, object()])
def test_what_is_none_is_refused(value: Any) -> None:
    """Not written as null: a program would go on with what nobody gave it."""
    with pytest.raises(ValueError, match="JSON"):
        dumps_exactly(value)


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        (r'{"a": 1, "b": {"a": [{"a": 2}, {"a": "a"}]}}', False),
        (r'{"a": "\"\\", "b\\\"": "\u0022 \\\\", "\u0063": "\\"}', False),
        (r'["\"", "\\\"", "\\\\", {"\"": "\\"}]', False),
        (r'{"a": 1, "a": 1}', True),
        (r'{"a": "\\", "\u0061": "\\\""}', True),
        (r'{"a": [{"b": {"c": 1, "d": {"e": 1}, "c": {"d": 2}}}]}', True),
        (r'{"a": 1, "a": 1e999}', True),
        (r'{"\ud800": 1, "a": 1, "a": 2}', True),
        ('{"a":' * 400 + '{"b": 1, "b": 2}' + "}" * 400, True),
    ],
)
def test_what_was_dropped_is_missed(text: str, *, doubtful: bool) -> None:
    """Whatever quotes stand in texts; what is read is the same."""
    value, told = loads_doubting(text.encode())
    assert (value, told) == (loads(text.encode()), doubtful)


@pytest.mark.parametrize(
    "data",
    [b"[" * 4_000_000, b'{"nodes":' * 10_000, b"nodes: {}", b"\xff", b""],
    ids=["4 MB of brackets", "depth 10 000", "YAML", "bytes", "nothing"],
)
@pytest.mark.parametrize("read", [loads, loads_doubting])
def test_what_is_no_json_is_refused_soon(read: Callable[[bytes], Any], data: bytes) -> None:
    """However long it is."""
    began = process_time()
    with pytest.raises(ValueError):  # noqa: PT011  # whatever is wrong with it
        read(data)
    assert process_time() - began < 4


def test_a_client_sends_no_value_that_is_no_json() -> None:
    """It is told to who wrote it, before anything is sent."""
    with DagoClient("http://127.0.0.1:1") as dago, pytest.raises(ValueError, match="JSON"):
        dago.submit_graph({"nodes": {"a": {"type": "start"}}}, {"x": float("nan")})
