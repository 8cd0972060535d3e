"""
The built-in tool `calculate`: arithmetic that is exact, and that no expression can make slow or dangerous.

An expression is parsed, never evaluated by Python. Numbers are fractions: 0.1 + 0.2 is 0.3.
"""

from __future__ import annotations

import ast
import decimal
import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

_LONGEST = 2000  # characters of an expression
_MOST_BITS = 13_000  # of a number's parts: below the 4300 digits that Python's own parsers take
_HIGHEST_EXPONENT = 3900  # decimal
_LARGEST_FACTORIAL = 1000
_DIGITS = 50  # of what has no exact value: roots, logarithms

_PI = Fraction("3.14159265358979323846264338327950288419716939937510")
_E = Fraction("2.71828182845904523536028747135266249775724709369996")
_NAMES = {"pi": _PI, "e": _E}
_LITERAL = re.compile(r"(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?", re.IGNORECASE)


class Incalculable(ValueError):
    """The error of an expression, worded for its author."""


def calculate(expression: str) -> int | float | str:
    """
    Calculate an arithmetic expression exactly.

    Operators: + - * / // % ** and parentheses. Functions: abs, round, floor, ceil, sqrt, exp, ln, log10, min, max,
    sum, gcd, lcm, factorial. Names: pi, e. A result that a JSON number can't hold exactly, though it has finitely
    many digits, is returned as text.

    Args:
        expression: For example "(3 + 4) * 2 ** 10 / 7".
    """
    if len(expression) > _LONGEST:
        raise Incalculable(f"an expression may have {_LONGEST} characters at most")
    text = expression.strip()
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Incalculable(f"that is no arithmetic expression: {getattr(error, 'msg', error)}") from error
    with decimal.localcontext(decimal.Context(prec=_DIGITS)):
        try:
            return _as_json(_value(tree.body, text))
        except RecursionError as error:
            raise Incalculable("the expression is nested too deeply") from error
        except ZeroDivisionError as error:
            raise Incalculable("division by zero") from error
        except decimal.DecimalException as error:
            raise Incalculable("the result is not a real number of sensible size") from error


def _value(node: ast.expr, text: str) -> Fraction:
    match node:
        case ast.Constant():
            return _literal(node, text)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, text)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, text), _value(right, text))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _bounded(_OPERATORS[type(operator)](_value(left, text), _value(right, text)))
        case ast.BinOp(op=ast.BitXor()):
            raise Incalculable("^ is no operator here: write ** for a power")
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _call(name, [_value(argument, text) for argument in arguments])
        case ast.Call(func=ast.Name(id=name)):
            raise Incalculable(f"no function {name}; there are {', '.join(sorted(_FUNCTIONS))}")
        case ast.Name(id=name):
            raise Incalculable(f"no name {name}; there are {', '.join(sorted(_NAMES))}")
    raise Incalculable("only numbers, + - * / // % **, parentheses and the listed functions are understood")


def _literal(node: ast.Constant, text: str) -> Fraction:
    if type(node.value) is int:
        return _bounded(Fraction(node.value))
    # From the text: Python has made a binary fraction of it already.
    source = (ast.get_source_segment(text, node) or "").replace("_", "")
    match = _LITERAL.fullmatch(source)
    if type(node.value) is not float or match is None:
        raise Incalculable("only real numbers are understood")
    if abs(int(match[3] or 0)) > _HIGHEST_EXPONENT:
        raise Incalculable("the numbers get too large")
    return _bounded(Fraction(source))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        if base < 0:
            raise Incalculable("a negative number has no real root of that kind")
        return _fraction(_decimal(base) ** _decimal(exponent))
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size > 1 and abs(exponent.numerator) * (size - 1) > _MOST_BITS:
        raise Incalculable("the numbers get too large")
    return _bounded(Fraction(base**exponent.numerator))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise Incalculable("the numbers get too large")
    return value


def _call(name: str, arguments: list[Fraction]) -> Fraction:
    function, least, most = _FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise Incalculable(f"{name} takes {least if least == most else f'{least} to {most:g}'} numbers")
    return _bounded(function(*arguments))


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _fraction(value: Decimal) -> Fraction:
    if abs(value.adjusted()) > _HIGHEST_EXPONENT:
        raise Incalculable("the numbers get too large")
    return Fraction(value)


def _sqrt(value: Fraction) -> Fraction:
    if value < 0:
        raise Incalculable("a negative number has no real square root")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    return _fraction(_decimal(value).sqrt())


def _logarithm(value: Fraction, function: Callable[[Decimal], Decimal]) -> Fraction:
    if value <= 0:
        raise Incalculable("only numbers above zero have a logarithm")
    return _fraction(function(_decimal(value)))


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise Incalculable("gcd, lcm and factorial take whole numbers")
    return value.numerator


def _factorial(value: Fraction) -> Fraction:
    if not 0 <= _whole(value) <= _LARGEST_FACTORIAL:
        raise Incalculable(f"factorial takes numbers from 0 to {_LARGEST_FACTORIAL}")
    return Fraction(math.factorial(_whole(value)))


def _round(value: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    places = _whole(digits)
    if abs(places) > _HIGHEST_EXPONENT:
        raise Incalculable("that many digits are too many")
    scale = Fraction(10) ** places
    half = Fraction(1, 2)  # away from zero, as taught at school
    scaled = abs(value) * scale
    return (1 if value >= 0 else -1) * Fraction(math.floor(scaled + half)) / scale


_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
}

_FUNCTIONS: dict[str, tuple[Callable[..., Fraction], int, float]] = {
    "abs": (abs, 1, 1),
    "round": (_round, 1, 2),
    "floor": (lambda x: Fraction(math.floor(x)), 1, 1),
    "ceil": (lambda x: Fraction(math.ceil(x)), 1, 1),
    "sqrt": (_sqrt, 1, 1),
    "exp": (lambda x: _fraction(_decimal(x).exp()), 1, 1),
    "ln": (lambda x: _logarithm(x, Decimal.ln), 1, 1),
    "log10": (lambda x: _logarithm(x, Decimal.log10), 1, 1),
    "min": (lambda *x: min(x), 1, math.inf),
    "max": (lambda *x: max(x), 1, math.inf),
    "sum": (lambda *x: sum(x, Fraction(0)), 1, math.inf),
    "gcd": (lambda *x: Fraction(math.gcd(*map(_whole, x))), 1, math.inf),
    "lcm": (lambda *x: _lcm(*x), 1, math.inf),
    "factorial": (_factorial, 1, 1),
}


def _lcm(*values: Fraction) -> Fraction:
    result = Fraction(1)
    for value in values:  # one by one, so that it stays bounded
        result = _bounded(Fraction(math.lcm(_whole(result), _whole(value))))
    return result


def _as_json(value: Fraction) -> int | float | str:
    if value.denominator == 1:
        return value.numerator
    try:
        nearest = float(value)
    except OverflowError:
        return _digits(value)
    if Fraction(repr(nearest)) == value or not _terminates(value):
        return nearest
    return _digits(value)


def _terminates(value: Fraction) -> bool:
    """Tell whether it has finitely many decimals, and no more than were asked for by its parts."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1 and value.denominator.bit_length() <= _DIGITS * 3


def _digits(value: Fraction) -> str:
    with decimal.localcontext(prec=4300):
        return format((_decimal(value)).normalize(), "f")
