"""Items in both envelopes, items that are none, and the events that go out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor_worker.envelopes.work_item import UnreadableItem, decode, names_in
from executor_worker.errors import InvalidItem
from tests.kit.effort import tries

LIMIT = 4096
MEMBERS = ["graph_id", "node_id", "data", "config", "x"]
NAMES = {"graph_id": "g", "node_id": "n"}


def item(**more: Any) -> bytes:
    return json.dumps({**NAMES, **more}).encode()


def event(body: dict[str, Any] | None = None, **more: Any) -> bytes:
    data = {**NAMES, "node_type": "llm", "state": {"topic": "x"}, **(body or {})}
    return json.dumps({"id": "w1", "type": "node.work", "execution_id": "e1", "data": data, **more}).encode()


def refused(data: bytes) -> UnreadableItem:
    with pytest.raises(UnreadableItem) as caught:
        decode(data, LIMIT)
    assert caught.value.code == "invalid_item" and isinstance(caught.value, InvalidItem)
    return caught.value


def test_the_plain_envelope() -> None:
    """Config comes along; the execution is the graph's."""
    read = decode(item(node_type="tool", config={"tool_name": "t"}, dependencies=["a"]), LIMIT)
    assert (read.graph_id, read.node_id, read.node_type, read.execution_id) == ("g", "n", "tool", "g")
    assert (read.config, read.dependencies) == ({"tool_name": "t"}, ["a"])
    assert read.given_inputs is None and read.work_id is None and read.deadline is None and read.traceparent is None


def test_the_event_envelope() -> None:
    """Inputs come along, config does not."""
    read = decode(event(), LIMIT)
    assert (read.graph_id, read.node_id, read.node_type, read.execution_id, read.work_id) == (
        "g",
        "n",
        "llm",
        "e1",
        "w1",
    )
    assert read.config is None and read.state_inputs == {"topic": "x"} == read.given_inputs


@pytest.mark.parametrize("make", [
    lambda **more: decode(item(**more), LIMIT),
    lambda **more: decode(event(**more), LIMIT),
    lambda **more: decode(event(more), LIMIT),
])  # fmt: skip
def test_optional_members_of_both(make: Any) -> None:
    """In an event they may stand inside or outside of its data."""
    read = make(
        inputs={"a": 1}, deadline="2026-01-01T00:00:00Z", metadata={"traceparent": "00-1-2-01", "tracestate": "a=b"}
    )
    assert read.inputs == {"a": 1} and read.given_inputs["a"] == 1
    assert read.deadline == 1767225600.0 and (read.traceparent, read.tracestate) == ("00-1-2-01", "a=b")
    assert make(inputs={}).inputs == {}


def test_inputs_are_laid_over_an_events_state() -> None:
    """Both came with the item; the more particular ones count."""
    read = decode(event({"inputs": {"topic": "y", "more": 1}}), LIMIT)
    assert read.given_inputs == {"topic": "y", "more": 1} and read.state_inputs == {"topic": "x"}
    assert decode(item(inputs={}), LIMIT).given_inputs == {}, "an empty object is one"


@pytest.mark.parametrize(("text", "seconds"), [
    ("2026-01-01T00:00:00Z", 1767225600.0), ("2026-01-01T01:00:00+01:00", 1767225600.0),
    ("2026-01-01T00:00:00.123456789Z", 1767225600.123456), ("2026-01-01t00:00:00z", 1767225600.0),
    ("0001-01-01T00:00:00Z", None),
])  # fmt: skip
def test_deadlines(text: str, seconds: float | None) -> None:
    """RFC 3339, nanoseconds and all; a time Go never set is none."""
    assert decode(item(deadline=text), LIMIT).deadline == seconds


@pytest.mark.parametrize("more", [
    {"graph_id": ""}, {"graph_id": 7}, {"graph_id": None}, {"node_id": ["n"]}, {"node_id": "a\nb"},
    {"node_id": "a\x00"},
    {"node_type": 1}, {"config": []}, {"config": "x"}, {"inputs": [1]}, {"deadline": "soon"}, {"deadline": 5},
    {"deadline": "2026-01-01T00:00:00"}, {"metadata": "x"}, {"dependencies": {}}, {"execution_id": 4}, {"id": {}},
    {"graph_id": "\ud800"},
])  # fmt: skip
def test_wrong_types_and_names_are_no_item(more: dict[str, Any]) -> None:
    """What is wrong is said; the names that could be read are kept, also such as no item may have."""
    error = refused(item(**more))
    assert next(iter(more)) in str(error)
    readable = {"graph_id": 7, "node_id": "a\nb", "execution_id": 4}
    for name, expected in NAMES.items():
        given = more.get(name, expected)
        can_be_said = given == expected or given in (readable[name], "a\x00")
        assert getattr(error, name) == (str(given) if can_be_said else "")


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b'{"graph_id": 42, "node_id": "n"}', ("42", "n")),
        (b'{"graph_id": 1.5, "node_id": -3}', ("1.5", "-3")),
        (b'{"graph_id": 12345678901234567890123, "node_id": "n"}', ("12345678901234567890123", "n")),
        (b'{"graph_id": 42, "node_id": "n", "config": oops', ("42", "n")),
        (b'{"type": "node.work", "data": {"graph_id": "a\\u0000b", "node_id": 7}}', ("a\0b", "7")),
        (b'{"graph_id": true, "node_id": null}', ("", "")),
        (b'{"graph_id": "\\ud800", "node_id": [1]}', ("", "")),
    ],
)
def test_names_that_no_item_may_have_are_read_for_the_answer(data: bytes, names: tuple[str, str]) -> None:
    """Numbers as texts, control characters as they are: whoever put the item up waits for a result by them."""
    error = refused(data)
    assert (error.graph_id, error.node_id) == names


@pytest.mark.parametrize(
    "data", [b"[]", b"null", b'"text"', b"7", b"{}", b'{"data":{}}', b'{"data":[]}', b'{"graph_id":"g"}']
)
def test_json_that_is_no_item(data: bytes) -> None:
    """Whatever it is, it is told apart from an item."""
    refused(data)


@pytest.mark.parametrize("data", [
    b"", b" ", b"{", b"not json", b"\xff\xfe", b"\x00", b'{"a":NaN}', b'{"a":-Infinity}', b"{'a':1}", b"\xef\xbb\xbf{}",
    b'{"graph_id":"g","node_id":"n\x00"}', b'{"graph_id":"g","node_id":"n",}', b'{"a":"\xed\xa0\x80"}', b'{} {}',
    "{}".encode("utf-16"),
])  # fmt: skip
def test_what_is_not_json(data: bytes) -> None:
    """Never an exception of another kind."""
    refused(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting(opening: bytes) -> None:
    """Refused with its names, no RecursionError and no crash."""
    data = b'{"graph_id":"g","node_id":"n","config":' + opening * 100_000
    with pytest.raises(UnreadableItem) as caught:
        decode(data, 10**7)
    assert (caught.value.graph_id, caught.value.node_id) == ("g", "n")
    closed = b'{"graph_id":"g","node_id":"n","inputs":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(UnreadableItem):
        decode(closed, 10**7)


def test_too_large_items_keep_their_names() -> None:
    """Also where a decoy stands before them."""
    data = json.dumps({"config": {"graph_id": "decoy", "x": "x" * LIMIT}, **NAMES, "execution_id": "e"}).encode()
    error = refused(data)
    assert (error.graph_id, error.node_id, error.execution_id) == ("g", "n", "e")
    assert str(LIMIT) in str(error)
    assert refused(event({"x": "y" * LIMIT})).execution_id == "e1"
    assert refused(b"x" * 5000).graph_id == ""


def test_names_are_read_from_broken_json() -> None:
    """What looks like a name is one, escapes and all."""
    error = refused(b'{"graph_id": "g\\u00e9", "node_id" :"n", "config": oops')
    assert (error.graph_id, error.node_id, error.execution_id) == ("gé", "n", "")
    assert names_in(b'{"data":{"graph_id":"g","node_id":"n"}}') == ("g", "n")
    assert names_in(b"\xff") == ("", "")


def test_of_a_name_that_stands_twice_the_last_counts() -> None:
    """As everybody else reads JSON."""
    assert decode(b'{"graph_id":"a","graph_id":"b","node_id":"n"}', LIMIT).graph_id == "b"


def test_huge_integers_and_lone_surrogates_are_kept() -> None:
    """They are JSON; what no Python number can hold stays the text it was."""
    data = (
        b'{"graph_id":"g","node_id":"n","inputs":{"a":123456789012345678901234567890,"s":"\\ud800","d":1e999,"h":%s}}'
    )
    inputs = decode(data % (b"9" * 4500), 10_000).inputs
    assert inputs == {"a": 123456789012345678901234567890, "s": "\ud800", "d": "1e999", "h": "9" * 4500}


def test_contradictions_and_foreign_events_are_refused() -> None:
    """Which of two names is meant can't be known."""
    assert "contradicts" in str(refused(event(graph_id="other")))
    assert "node.completed" in str(refused(event(type="node.completed")))
    assert decode(event(graph_id="g"), LIMIT).graph_id == "g"


@settings(max_examples=tries(300), deadline=None)
@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(MEMBERS), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_anything_is_an_item_or_refused(data: bytes) -> None:
    """No third way."""
    try:
        read = decode(data, LIMIT)
    except UnreadableItem:
        return
    assert read.graph_id and read.node_id
