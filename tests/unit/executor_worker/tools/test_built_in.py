"""The tools that are always there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.errors import ToolFailed
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry
from executor_worker.tools.builtin.calculate import Incalculable, calculate
from executor_worker.tools.builtin.json_query import BadPath, json_query
from tests.kit import Stopwatch

Make = Callable[..., ToolRegistry]


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 2", 4),
        ("0.1 + 0.2", 0.3),
        ("1/3", 1 / 3),
        ("(3 + 4) * 2 ** 10 / 7", 1024),
        ("2 ** 200", 2**200),
        ("2 ** -3", 0.125),
        ("-7 // 2", -4),
        ("10 % 3.5", 3),
        ("1e400 / 1e399", 10),
        ("sqrt(2) ** 2 - 2 < 1", None),
        ("sqrt(1/4)", 0.5),
        ("sqrt(2)", 2**0.5),
        ("round(2.5)", 3),
        ("round(-2.675, 2)", -2.68),
        ("floor(-0.5) + ceil(0.5)", 0),
        ("max(1, 2.5, 2) - min(3, 1) + sum(1, 2)", 4.5),
        ("gcd(12, 18) + lcm(4, 6)", 18),
        ("factorial(20)", 2432902008176640000),
        ("ln(exp(1))", 1),
        ("log10(1000)", 3),
        ("2 * pi", 6.283185307179586),
        ("1_000 + 0x10", 1016),
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
    ],
)
def test_calculate_is_exact(expression: str, result: Any) -> None:
    """Fractions all the way; text only where a JSON number would round what has an end."""
    if result is None:
        with pytest.raises(Incalculable):
            calculate(expression)
    else:
        found = calculate(expression)
        assert found == result
        assert type(found) is type(result)


@pytest.mark.parametrize(
    "expression",
    [
        "", "1 +", "1/0", "0**-1", "9**9**9", "2**99999999", "1e999999999", "10**5000", "factorial(100000)",
        "exp(1e9)", "sqrt(-1)", "(-8)**(1/3)", "ln(0)", "2^3", "1j", "True", "'a'*9", "__import__('os')",
        "().__class__", "[1 for x in (1,)]", "lambda: 1", "pi.real", "abs(x=1)", "max()", "gcd(0.5, 1)",
        "(" * 500 + "1" + ")" * 500, "-" * 1999 + "1", "1+" * 5000 + "1", "x := 1", "1 if 1 else 2", "f'{1}'",
        "9" * 5000, "round(1, 99999)", "1" * 1999 + "e", "lcm(" + "9" * 1900 + ", 7)**9**9",
    ],
)  # fmt: skip
def test_calculate_refuses_what_is_no_arithmetic_or_too_large(expression: str) -> None:
    """At once, with a sentence."""
    began = Stopwatch()
    with pytest.raises(Incalculable):
        calculate(expression)
    assert began.own_s() < 1


@given(st.text(alphabet="0123456789.+-*/%()e, sqrtpimaxround_", max_size=40))
def test_calculate_answers_anything_with_a_number_or_a_sentence(expression: str) -> None:
    """Nothing else comes out, and soon."""
    try:
        result = calculate(expression)
    except Incalculable as refused:
        result = str(refused)
    assert isinstance(result, int | float) or result


def test_current_time_is_rfc_3339_in_any_zone(make_registry: Make, run_context: RunContext) -> None:
    """UTC ends in Z; a zone that does not exist is an error."""
    tool = make_registry().find("current_time")
    now = datetime.now(UTC)
    utc = tool.call({}, run_context, "k").value
    assert utc.endswith("Z")
    for text in (utc, tool.call({"timezone": "Asia/Kolkata"}, run_context, "k").value):
        assert abs(datetime.fromisoformat(text) - now) < timedelta(seconds=5)
    for zone in ("Nowhere/City", "../../etc/passwd", "America", "", "\x00"):
        with pytest.raises(ToolFailed, match="no time zone"):
            tool.call({"timezone": zone}, run_context, "k")


DATA = {"items": [{"name": "a", "n": 1}, {"name": "b"}], "a.b": {"c d": 5}, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", DATA),
        ("items[0].name", "a"),
        ("items.1.name", "b"),
        ("items[-1].name", "b"),
        ("$.items[*].name", ["a", "b"]),
        ("items[*].n", [1]),
        ("items[*].*", ["a", 1, "b"]),
        ("*[0].name", ["a"]),
        ('["a.b"]["c d"]', 5),
        ("['a.b'].*", [5]),
        ("/items/0/name", "a"),
        ("/items/*/name", ["a", "b"]),
        ("/a.b/c d", 5),
        ("0", "zero"),
        ("items[7].name", None),
        ("items.name", None),
        ("nobody", None),
    ],
)
def test_json_query_takes_values_out(path: str, value: Any) -> None:
    """Paths, pointers, wildcards; null where there is nothing."""
    assert json_query(DATA, path) == value


@pytest.mark.parametrize("path", ["items[", "items[x]", "a b", "items[*", ".." * 300, "[99999999999]", '["\\x"]'])
def test_json_query_refuses_what_is_no_path(path: str) -> None:
    """With the place where reading ended."""
    with pytest.raises((BadPath, ValueError)):
        json_query(DATA, path)


def test_json_query_reads_text_and_is_bounded(make_registry: Make, run_context: RunContext) -> None:
    """Tools often return JSON as text; a path that matches everything is refused."""
    tool = make_registry().find("json_query")
    assert tool.call({"data": '{"a": [1, 2]}', "path": "a[1]"}, run_context, "k").value == 2
    assert tool.call({"data": "plain", "path": "a"}, run_context, "k").value is None
    with pytest.raises(ToolFailed, match="more than 10000 values"):
        tool.call({"data": [[0] * 101] * 100, "path": "*.*"}, run_context, "k")
