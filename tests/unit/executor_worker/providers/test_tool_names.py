"""Tool names on their way to a model and back."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from executor_worker.providers.tool_names import ToolNames


def test_names_stay_readable() -> None:
    """What the API takes stays; else odd characters go, and only a clash gets a mark."""
    names = ToolNames(["search", "time.now", "a.b", "a_b", "a b", "x" * 70], 64)
    assert names.to_wire("search") == "search"
    assert names.to_wire("time.now") == "time_now"
    assert names.to_wire("a_b") == "a_b"
    assert re.fullmatch(r"a_b_[0-9a-f]{8}", names.to_wire("a.b"))
    assert names.to_wire("a.b") != names.to_wire("a b")
    assert re.fullmatch(r"x{55}_[0-9a-f]{8}", names.to_wire("x" * 70))


def test_a_made_up_name_stays_as_written() -> None:
    """The caller tells the model that there is no such tool."""
    assert ToolNames(["search"], 64).from_wire("serach") == "serach"


@given(st.sets(st.text(alphabet="ab._- ü\ud800", max_size=8) | st.text(max_size=200), max_size=30))
def test_any_names_go_there_and_back(given_names: set[str]) -> None:
    """One to one, in the API's alphabet, whatever the order."""
    ordered = sorted(given_names)
    names, again = ToolNames(ordered, 64), ToolNames(reversed(ordered), 64)
    wires = [names.to_wire(name) for name in ordered]
    assert len(set(wires)) == len(wires)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", wire) for wire in wires)
    assert [names.from_wire(wire) for wire in wires] == ordered
    assert wires == [again.to_wire(name) for name in ordered]
