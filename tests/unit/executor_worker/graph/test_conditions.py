"""Conditions: what they mean, what they name, what they may not do."""

from __future__ import annotations

import contextlib
from time import process_time
from typing import Any

import pytest

from executor_worker.graph import condition_bounds, conditions, expressions
from executor_worker.graph.conditions import Condition, ConditionError

SCOPE: dict[str, Any] = {
    "inputs": {"priority": "high", "score": 0.9, "count": 3, "items": [1, 2, 3], "big": ["x"] * 10_001},
    "nodes": {"a": {"text": "hello", "n": 1.0}, "skipped": None, "b-c": {"ok": True}},
    "output": {"status": 200},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("inputs.priority == 'high'", True),
        ("inputs.score > 0.8 && inputs.count >= 3", True),
        ("nodes.a.n == 1", True),
        ("nodes.skipped == null", True),
        ("has(nodes.a.text) && !has(nodes.a.nothing)", True),
        ('nodes["b-c"].ok', True),
        ("output.status in [200, 201]", True),
        ("inputs.items.all(x, x > 0)", True),
        ("inputs.items.filter(x, x > 1).size() == 2", True),
        ("size(inputs.items) == inputs.count", True),
        ("type(inputs.count) == int && type(inputs.score) == double", True),
        ("nodes.a.text.matches('^h.*o$')", True),
        ("nodes.a.nothing == 1 || true", True),
        ("false", False),
    ],
)
def test_a_condition_holds_or_not(text: str, holds: bool) -> None:
    assert Condition.compile(text).holds(SCOPE) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs.nothing == 1", "there is no 'nothing'"),
        ("inputs.count", "is a number, not true or false"),
        ("inputs.priority", "is a text, not true or false"),
        ("nodes.skipped", "is null, not true or false"),
        ("inputs.priority > 1", "No such overload"),
        ("size(inputs.big) > 1", "'big' holds a list or an object of more than 10,000 items"),
        ("inputs.count / 0 == 1", ""),
    ],
)
def test_a_condition_that_cannot_be_answered_says_why(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.compile(text).holds(SCOPE)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("inputs.a ==", 12),
        ("inputs.a = 1", 10),
        ("1 +\n  )", 7),
        ("upper(inputs.a) == 'A'", 1),
        ("true && now() > 1", 9),
        ("inputs.l.map(a, a.map(b, b.map(c, c))).size() > 0", 31),
        ("(" * 60 + "true" + ")" * 60, 49),
        ("inputs.a.matches('(a{100}){100}')", 18),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_column(text: str, column: int) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.compile(text)
    assert caught.value.column == column
    assert caught.value.fix


def test_a_condition_longer_than_its_limit_is_refused() -> None:
    longest = "true" + " " * (conditions.MOST_CHARS - 4)
    assert Condition.compile(longest).holds({})
    with pytest.raises(ConditionError, match="longer than"):
        Condition.compile(longest + " ")


@pytest.mark.parametrize(
    "value", [["x"] * 10_000, "x" * condition_bounds.MOST_TEXT, {str(number): 1 for number in range(10_000)}]
)
def test_a_value_of_the_size_limit_is_taken_and_one_more_is_an_error(value: Any) -> None:
    condition = Condition.compile("size(inputs.value) > 0")
    assert condition.holds({"inputs": {"value": value}})
    more = {**value, "more": 1} if isinstance(value, dict) else value + value[:1]
    with pytest.raises(ConditionError, match="more than"):
        condition.holds({"inputs": {"value": more}})


def test_what_the_condition_does_not_name_may_be_of_any_size() -> None:
    assert Condition.compile("inputs.count == 3 && has(inputs.big)").holds(SCOPE)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('nodes.a["b c"].d == inputs.x', [("nodes", "a", "b c", "d"), ("inputs", "x")]),
        ("inputs.l.exists(x, x.y == inputs.z)", [("inputs", "l"), ("inputs", "z")]),
        ("nodes[inputs.which].text == ''", [("inputs", "which"), ("nodes",)]),
        ("inputs.s.contains('a.b') || state.t", [("inputs", "s"), ("state", "t")]),
        ("'nodes.a' == r\"nodes.b\"", []),
        ("size(inputs.l[0].m) > 0 // nodes.c", [("inputs", "l")]),
        ("{'k': inputs.a}.k == [inputs.b][0]", [("inputs", "a"), ("inputs", "b")]),
        ("priority == 'high'", [("priority",)]),
    ],
)
def test_names_are_the_paths_as_far_as_they_stand_in_the_text(text: str, paths: list[tuple[str, ...]]) -> None:
    assert sorted(path.parts for path in Condition.compile(text).names()) == sorted(paths)


def test_only_asked_for_is_told_apart() -> None:
    one, two = Condition.compile("has(nodes.a.b) && nodes.c").names()
    assert (one.asked, two.asked) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 2000,
        "-" * 4000 + "1",
        "!" * 4000 + "true",
        "a?b:" * 1000,
        "{1:" * 800,
        "'" * 4000,
        "x." * 2000,
        "((((" * 900,
        "a" + "[a" * 1300,
        "a.f(" * 900,
        "\\" * 4000,
        "\x00",
        "'''" * 1300,
        "1" * 4000,
        "\ud800",
        "r'" * 2000,
    ],
)
def test_a_hostile_text_is_answered_at_once(text: str) -> None:
    began = process_time()
    with contextlib.suppress(ConditionError):
        Condition.compile(text)
    assert process_time() - began < 4


def test_the_library_mentions_no_root_that_is_not_read_here() -> None:
    """What the library calls variables are the roots found here, and the variables of macros."""
    texts = [
        "nodes.a.b > inputs.c ? state.d : output",
        "inputs.l.map(x, x + inputs.k)[0] == 1",
        "inputs['a'].b(nodes.c)",
    ]
    for text in texts:
        theirs = set(conditions._CEL.compile(text).variables())
        assert {path.parts[0] for path in expressions.read(text).paths} == theirs - {"x"}


LONG = list(range(10_000))
WORST = [
    ("inputs.l.all(x, x >= 0 && x < 100000)", LONG),
    ("size(inputs.l.filter(x, x > 5)) > 0", LONG[:3000]),
    ("inputs.l.exists(x, inputs.l.exists(y, x + y < 0))", LONG[:1500]),
    ("inputs.l.all(x, inputs.l.all(y, x + y + x * y != -1))", LONG[:1000]),
    ("inputs.l.all(x, inputs.l.all(y, x + y != ''))", ["x" * 500] * 800),
    ("inputs.l.map(x, x + x).size() > 0", ["x" * 100] * 2000),
    ("inputs.l.all(x, x in inputs.l)", LONG[:3000]),
    ("size(inputs.l.map(x, inputs.l.filter(y, y > x))) > 0", LONG[:200]),
    ("inputs.l.map(x, inputs.l) == [] || true", LONG[:250]),
    ("size(inputs.l.filter(x, x.a)) > 0", [{"a": True, "b": 1, "c": ["d"]}] * 1000),
    ("inputs.l[0].matches('(x+x+)+y')", ["x" * condition_bounds.MOST_TEXT]),
    ("inputs.l[0].matches('(.*)(.*)(.*)(.*)x{500}y')", ["x" * 100_000]),
]


@pytest.mark.parametrize(("text", "values"), WORST)
def test_the_largest_that_is_taken_ends_soon(text: str, values: list[Any]) -> None:
    began = process_time()
    Condition.compile(text).holds({"inputs": {"l": values}})
    assert process_time() - began < 10


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("inputs.l.all(x, inputs.l.all(y, x + y >= 0))", LONG),
        ("size(inputs.l.map(x, inputs.l.map(y, y))) > 0", LONG[:1000]),
        ("inputs.l.map(x, inputs.l) == []", LONG[:1000]),
        ("inputs.l.map(x, {'k': inputs.l}).size() > 0", LONG[:1000]),
        ("inputs.l.map(x, x > 5 ? inputs.l : []).size() > 0", LONG[:1000]),
        ("inputs.l.map(x, [x == 1, inputs.l]).size() > 0", LONG[:1000]),
        ("inputs.l.map(x, {'a == b': inputs.l}).size() > 0", LONG[:1000]),
        ("inputs.l.map(x, x >= 0, inputs.l).size() > 0", LONG[:1000]),
        ("inputs.l.map(x, x.a).size() > 0", [{"a": LONG[:1000]}] * 1000),
        ("inputs.l.map(x, {'k': x.a['b'] + []}).size() > 0", [{"a": {"b": LONG[:1000]}}] * 1000),
        ("inputs.l.map(x, x.b == 1, x).size() > 0", [{"a": True, "b": 1, "c": 2}] * 10_000),
        ("inputs.l.all(x, inputs.l.size() > 0)", LONG),
        ("size(inputs.l.filter(x, x.a)) > 0", [{"a": True, "b": 1, "c": 2}] * 10_000),
        ("size(inputs.l.map(x, x)) > 0", ["x" * 100_000] * 1000),
        ("inputs.l.map(x, x + x + x).size() > 0", ["x" * condition_bounds.MOST_TEXT] * 100),
        ("size(" + "+".join(["inputs.l[0]"] * 200) + ") > 0", ["x" * condition_bounds.MOST_TEXT]),
        ("inputs.l.all(x, ('a' + x).size() > 0)", ["x" * (condition_bounds.MOST_TEXT - 1)] * 100),
        ("inputs.l.map(x, x + 'a').size() > 0", ["x" * 600] * 10_000),
        ("[1, 2].map(x, inputs.l[0] + 'b').map(x, x + x).size() > 0", ["x" * 700_000]),
        ("inputs.l.map(i, [i].map(a, 'x' + 'y')[0] + inputs.l[0]).size() > 0", ["x" * 2000] * 3000),
        ("size(inputs.l.map(x, size(inputs.l + [x]))) > 0", LONG),
    ],
)
def test_what_would_take_minutes_or_fill_the_memory_is_always_an_error(text: str, values: list[Any]) -> None:
    condition, began = Condition.compile(text), process_time()
    with pytest.raises(ConditionError, match=r"too many steps|too often|more than"):
        condition.holds({"inputs": {"l": values}})
    assert process_time() - began < 4


HALF = "x" * (condition_bounds.MOST_TEXT // 2)
SUMS = {
    "inputs": {"t": HALF, "e": "\u00e9" * (condition_bounds.MOST_TEXT // 4), "l": [0] * 5000, "n": 1, "s": "\u00e9"}
}


@pytest.mark.parametrize(
    "text",
    [
        "size(inputs.t + inputs.t) == 1048576",
        "size(inputs.e + inputs.e) == 524288",
        "bytes(inputs.t) + bytes(inputs.t) != b''",
        "size(inputs.l + inputs.l) == 10000",
        "(inputs.t + inputs.t + 'a').size() > 0 || inputs.n == 1",
        "inputs.n == 1 ? true : inputs.t + inputs.t + 'a' == ''",
        "[inputs.l.filter(x, x > 0).map(x, 'a') + [[1, 2].map(x, 'a' + 'b')[1] + 'c'], []][0] == ['abc']",
        "-inputs.n + inputs.n == 0 && !(inputs.s + 'b' == 'b') && inputs.s+'b' in ['a' + 'c', inputs.s + 'b']",
        "{'a' + 'b': inputs.s + inputs.s}['ab'] == inputs.s + inputs.s && size(inputs.s+inputs.s) == 2",
        "bool('tr' + 'ue') && 'ab'.matches('^' + 'a') && size('' + inputs.s) + inputs.n == 2",
        "('a' + 'b').size() == 2 && size('a' + 'b') == 2 && ('a' + string(12)).matches('a' + '1')",
        "1u + uint(inputs.n) + 1u == 3u && uint(inputs.n) + uint(inputs.n) + 1u == 3u",
        "timestamp('2026-01-01T00:00:00Z') + duration('1ns') > timestamp('2026-01-01T00:00:00Z')",
        "inputs.n + inputs.n - inputs.n * 3 + 2 == 1 && double(inputs.n) + 0.5 == 1.5",
        " + ".join(["inputs.n"] * 360) + " == 360",
        "size(" + " + ".join(["inputs.s"] * 360) + ") == 360",
        "(" * 40 + "inputs.s" + " + 'a')" * 40 + ".endsWith('aaa')",
    ],
)
def test_a_sum_within_the_bounds_is_what_it_is(text: str) -> None:
    """Of whatever kind, wherever it stands."""
    assert Condition.compile(text).holds(SUMS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size(inputs.t + inputs.t + 'a') > 0", "a text of more than 1,048,576 bytes"),
        ("size(inputs.e + inputs.e + inputs.s) > 0", "a text of more than"),
        ("inputs.t + (inputs.t + 'a') == ''", "a text of more than"),
        ("'' == inputs.t + string(bytes(inputs.t) + b'a')", "a text of more than"),
        ("bytes(inputs.t) + bytes(inputs.t) + b'a' == b''", "a text of more than"),
        ("[inputs.t].exists(x, x + x + 'a' == '')", "a text of more than"),
        ("{'k': inputs.t + inputs.t + 'a'}.k != ''", "a text of more than"),
        ("'a' in [inputs.t + inputs.t + 'a']", "a text of more than"),
        ("(inputs.t + inputs.t + 'a').contains('b')", "a text of more than"),
        ("inputs.n == 2 ? true : (inputs.t + inputs.t + 'a') != ''", "a text of more than"),
        ("['a'].map(x, x + x).map(x, x" + " + x" * 99 + ").map(x, inputs.t + x + inputs.t)[0] != ''", "a text"),
        ("size(inputs.l + inputs.l + [1]) > 0", "a list of more than 10,000 items"),
        ("size(" + " + ".join(["inputs.t"] * 360) + ") > 0", "a text of more than"),
        ("[1].map(x, [x, x, x]).map(x, [x, x, x, x, x, x]).map(x, [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]) != []",
         "more than 256 values of one"),
        ("(" * 47 + "+".join(["'a'"] * 200) + " + 'a')" * 47 + " == ''", "too many brackets"),
    ],
)  # fmt: skip
def test_a_sum_beyond_the_bounds_is_an_error(text: str, message: str) -> None:
    """Of texts, bytes and lists, by every way; the whole is never made where it would fill the memory."""
    with pytest.raises(ConditionError, match=message):
        Condition.compile(text).holds(SUMS)


def test_what_macros_use_of_the_largest_lists_is_taken() -> None:
    """Every element looked up in another list, or one field of each collected; `in` and a comparison copy no result."""
    records = [{"id": at, "tags": ["a", "b"], "long": LONG[:200]} for at in range(2000)]
    scope = {"inputs": {"l": records, "ids": LONG[:2000]}}
    for text in (
        "inputs.l.all(x, x.id in inputs.ids)",
        "size(inputs.l.map(x, x.id)) == 2000",
        "size(inputs.l.map(x, x.id in inputs.ids)) == 2000",
        "size(inputs.l.map(x, !(x.id in inputs.ids || x == 'none'))) == 2000",
        "size(inputs.l.map(x, x.id in inputs.ids && x != null, x.id)) == 2000",
        "inputs.l.map(x, x.long[0])[1] == 0 && inputs.l.map(x, x.tags)[1][0] == 'a'",
        "inputs.l.map(x, has(x.long))[0] && inputs.l.map(x, x.long.size())[0] == size(inputs.l[0].long)",
        "inputs.l.exists(x, has(x.tags) && x.tags.exists(y, y == 'b'))",
    ):
        assert Condition.compile(text).holds(scope)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bool('true')", True),
        ("bool('0') || bool(false)", False),
        ("bool(bool(inputs.t)) ? bool('t') : false", True),
        ("[bool('True')] == [true] && type(bool('f')) == bool", True),
        ("bool('yes')", None),
        ("bool(1)", None),
    ],
)
def test_bool_reads_texts_as_cel_has_it(text: str, value: bool | None) -> None:
    condition = Condition.compile(text)
    if value is None:
        with pytest.raises(ConditionError):
            condition.holds({"inputs": {"t": "1"}})
    else:
        assert condition.holds({"inputs": {"t": "1"}}) is value


def test_size_counts_characters_as_cel_has_it() -> None:
    scope = {"inputs": {"s": "héllo", "l": ["é", "ß"]}}
    for text in ("size(inputs.s) == 5", "inputs.s.size() == 5", "inputs.l.all(x, size(x) == 1) && size(inputs.l) == 2"):
        assert Condition.compile(text).holds(scope)


def test_a_computed_pattern_is_bounded_like_a_written_one() -> None:
    scope = {"inputs": {"s": "aaaa", "good": "^a+$", "bad": "(a{100}){100}"}}
    assert Condition.compile("inputs.s.matches(inputs.good)").holds(scope)
    with pytest.raises(ConditionError):
        Condition.compile("inputs.s.matches(inputs.bad)").holds(scope)
