"""JSON text of values that other programs hand over."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.client import DagoClient
from executor_worker.json_text import dumps_exactly


@pytest.mark.parametrize("value", [None, [None, {"a": "null"}], 2**70, 1.0, "\ud800", {"a": [True, {}]}])
def test_what_is_json_is_written(value: Any) -> None:
    """Nothing at all, huge integers and half characters included."""
    assert dumps_exactly(value)


@pytest.mark.parametrize("value", [float("nan"), [1, {"a": float("inf")}], {"a": None, "b": -float("inf")}, object()])
def test_what_is_none_is_refused(value: Any) -> None:
    """Not written as null: a program would go on with what nobody gave it."""
    with pytest.raises(ValueError, match="JSON"):
        dumps_exactly(value)


def test_a_client_sends_no_value_that_is_no_json() -> None:
    """It is told to who wrote it, before anything is sent."""
    with DagoClient("http://127.0.0.1:1") as dago, pytest.raises(ValueError, match="JSON"):
        dago.submit_graph({"nodes": {"a": {"type": "start"}}}, {"x": float("nan")})
