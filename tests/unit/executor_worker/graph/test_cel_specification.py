"""
Cases of the CEL specification that concern conditions over JSON, and Google's evaluator beside ours.

Where the two differ it stands in `DIFFERENCES`, each with its reason.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from cel_expr_python import cel as google  # type: ignore[import-untyped]

from executor_worker.graph.conditions import Condition, ConditionError
from tests.kit.effort import tries

ERROR = "an error"

INPUTS: dict[str, Any] = {
    "i": 3,
    "d": 2.5,
    "one": 1.0,
    "s": "héllo",
    "t": True,
    "f": False,
    "n": None,
    "l": [1, 2, 3],
    "ld": [1.0, 2.5],
    "ls": ["a", "b"],
    "e": [],
    "m": {"a": 1, "b": {"c": "x"}, "with space": 2},
    "em": {},
    "total": 250,
    "discount": 20,
    "price": 2.5,
    "quantity": 300.0,
    "code": "ABC-1234",
    "big": 9223372036854775807,
    "flags": {"premium": True},
    "metadata": {"region": "eu"},
}

CASES: list[tuple[str, Any]] = [
    # equality is across numbers, and false across other types
    ("inputs.i == 3", True),
    ("inputs.i == 3.0", True),
    ("inputs.one == 1", True),
    ("1 == 1.0", True),
    ("inputs.s == 3", False),
    ("inputs.n == null", True),
    ("inputs.i == null", False),
    ("inputs.l == [1, 2, 3]", True),
    ("inputs.l == [1.0, 2.0, 3.0]", True),
    ("inputs.m.b == {'c': 'x'}", True),
    ("inputs.t != inputs.f", True),
    ("'a' == 'A'", False),
    # order, within a type and across numbers
    ("inputs.i > 2.5", True),
    ("inputs.d >= 2", True),
    ("'abc' < 'abd'", True),
    ("false < true", True),
    ("inputs.s > 1", ERROR),
    ("inputs.big > 9223372036854775806", True),
    # arithmetic, never between int and double
    ("inputs.i + 1 == 4", True),
    ("inputs.i / 2 == 1", True),
    ("-7 / 2 == -3", True),
    ("-7 % 3 == -1", True),
    ("inputs.d * 2.0 == 5.0", True),
    ("inputs.i + inputs.d > 1.0", ERROR),
    ("double(inputs.i) + inputs.d == 5.5", True),
    ("inputs.i / 0 == 1", ERROR),
    ("inputs.i % 0 == 1", ERROR),
    ("1.0 / 0.0 > 1.0", True),
    ("inputs.big + 1 > 0", ERROR),
    ("'a' + 'b' == 'ab'", True),
    ("inputs.l + [4] == [1, 2, 3, 4]", True),
    # logic absorbs errors where the other side decides
    ("inputs.nope == 1 || true", True),
    ("true || inputs.nope == 1", True),
    ("inputs.nope == 1 && false", False),
    ("false && inputs.nope == 1", False),
    ("inputs.nope == 1 || false", ERROR),
    ("inputs.nope == 1 && true", ERROR),
    ("inputs.i / 0 == 1 || inputs.t", True),
    ("!inputs.f", True),
    ("inputs.t ? inputs.i == 3 : inputs.nope == 1", True),
    ("inputs.i && true", ERROR),
    # names, has, indexes
    ("has(inputs.m.a)", True),
    ("has(inputs.m.z)", False),
    ("has(inputs.n)", True),
    ("has(inputs.nope.deeper)", ERROR),
    ("inputs.m['with space'] == 2", True),
    ("inputs.m.b.c == 'x'", True),
    ("inputs.l[0] == 1", True),
    ("inputs.l[3] == 1", ERROR),
    ("inputs.l[-1] == 3", ERROR),
    ("inputs.m['z'] == 1", ERROR),
    # in, size
    ("2 in inputs.l", True),
    ("2.0 in inputs.l", True),
    ("'a' in inputs.m", True),
    ("'z' in inputs.m", False),
    ("inputs.i in []", False),
    ("size(inputs.s) == 5", True),
    ("inputs.l.size() == 3 && size(inputs.m) == 3 && size(inputs.e) == 0", True),
    ("size(inputs.i) == 1", ERROR),
    # texts
    ("inputs.s.contains('éll')", True),
    ("inputs.s.startsWith('hé') && inputs.s.endsWith('lo')", True),
    ("inputs.s.matches('^h.llo$')", True),
    ('inputs.code.matches("^[A-Z]{3}-\\\\d{4}$")', True),
    ("inputs.s.matches('l+')", True),
    ("inputs.i.contains('x')", ERROR),
    ("r'\\d' == '\\\\d'", True),
    ("'\\u0041' == 'A'", True),
    # macros
    ("inputs.l.all(x, x > 0)", True),
    ("inputs.e.all(x, x > 0)", True),
    ("inputs.l.exists(x, x == 2)", True),
    ("inputs.e.exists(x, true)", False),
    ("inputs.l.exists_one(x, x > 2)", True),
    ("inputs.l.exists_one(x, x > 1)", False),
    ("inputs.l.map(x, x * 2) == [2, 4, 6]", True),
    ("inputs.l.map(x, x > 1, x * 2) == [4, 6]", True),
    ("inputs.l.filter(x, x % 2 == 1) == [1, 3]", True),
    ("inputs.m.exists(k, k == 'b')", True),
    ("inputs.l.all(x, x / 0 == 1 || x > 0)", True),
    ("inputs.l.exists(x, inputs.ls.exists(y, size(y) == x))", True),
    # types and conversions
    ("type(inputs.i) == int", True),
    ("type(inputs.d) == double", True),
    ("type(inputs.s) == string", True),
    ("type(inputs.t) == bool", True),
    ("type(inputs.n) == null_type", True),
    ("type(inputs.l) == list && type(inputs.m) == map", True),
    ("int(2.9) == 2 && int('5') == 5", True),
    ("int('x') == 5", ERROR),
    ("double('1.5') == inputs.d - 1.0", True),
    ("string(5) == '5'", True),
    ("timestamp('2026-01-02T03:04:05Z') < timestamp('2026-01-02T03:04:06Z')", True),
    ("timestamp('2026-01-02T03:04:05Z').getFullYear() == 2026", True),
    ("duration('90s') == duration('1m30s')", True),
    ("timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')", True),
    # the result has to be a bool
    ("inputs.i", ERROR),
    ("inputs.n", ERROR),
    # documented expressions of the original's routers
    ("inputs.total - inputs.discount > 100", True),
    ("inputs.price * inputs.quantity > 500.0", True),
    ("inputs.price * inputs.quantity > 500", True),
    ("inputs.metadata[\"region\"] == 'eu'", True),
    ("has(inputs.flags.premium)", True),
]

DIFFERENCES = {"inputs.d in inputs.m": "a double is no key here: an error, where Google's says false"}


def ours(text: str) -> Any:
    try:
        return Condition.compile(text).holds({"inputs": INPUTS})
    except ConditionError:
        return ERROR


def googles(text: str) -> Any:
    env = google.NewEnv(variables={"inputs": google.Type.Map(google.Type.STRING, google.Type.DYN)})
    try:
        value = env.compile(text, disable_check=True).eval(data={"inputs": INPUTS}).plain_value()
    except Exception:  # noqa: BLE001  # its errors have no class of their own
        return ERROR
    return value if isinstance(value, bool) else ERROR


@pytest.mark.parametrize(("text", "holds"), CASES)
def test_specified_case(text: str, holds: Any) -> None:
    assert ours(text) == holds


@pytest.mark.parametrize("text", [text for text, _ in CASES if text not in DIFFERENCES])
def test_googles_evaluator_says_the_same(text: str) -> None:
    assert googles(text) == ours(text)


OPERANDS = [
    *(f"inputs.{name}" for name in ("i", "d", "s", "t", "n", "l", "m", "m.a", "nope", "l[0]")),
    "1",
    "'x'",
    "true",
    "null",
    "[1]",
]
OPERATORS = ["==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "&&", "||", "in"]


def expression(luck: random.Random, depth: int) -> str:
    """Make up an expression that may mean nothing."""
    if not depth:
        return luck.choice(OPERANDS)
    one, two, three = (expression(luck, depth - 1) for _ in range(3))
    shapes = [
        *[f"({one} {luck.choice(OPERATORS)} {two})"] * 5,
        *(f"!{one}", f"size({one})", f"({one} ? {two} : {three})", f"{one}.contains({two})"),
        f"{one}.{luck.choice(['all', 'exists', 'exists_one'])}(x, x {luck.choice(['==', '>', '<'])} {two})",
    ]
    return luck.choice(shapes)


def test_googles_evaluator_says_the_same_of_expressions_made_up() -> None:
    luck = random.Random(11)
    texts = [expression(luck, luck.choice([1, 2, 2])) for _ in range(tries(3000))]
    texts = [text for text in texts if not any(differs in text for differs in DIFFERENCES)]
    differing = {text: (ours(text), googles(text)) for text in texts if ours(text) != googles(text)}
    assert not differing
