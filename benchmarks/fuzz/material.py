"""Material of cases: texts, values and JSON as no well-meaning program writes them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

TEXTS = (
    "", " ", "a", "n", "0", "-1", "null", "true", "{{", "}}", "{{n}}", "{{inputs.a}}", "{{nodes.n.0}}", "{{ inputs }}",
    "é", "日本", "\u2028", "\ufeff", "\x00", "\x1f\x7f", "\ud800", "a\udfffb", "🙂", '"', "\\", "a.b", "a b", "a\nb",
    "__proto__", "*", "../..", "%s%n", "$ref", "<script>", "é" * 40, "x" * 3000, "[" * 300, '{"a":' * 300,
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 10, 0.5, -0.0, 1e-9, 1e300, -1e300, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**40,
)  # fmt: skip
NUMBER_TEXTS = (
    "0",
    "-0",
    "1.0",
    "1e2",
    "1E+2",
    "0.10",
    "1e400",
    "-1e-400",
    "123456789012345678901234567890",
    "9" * 5000,
)
DEEP = 100  # levels that everybody can take
BLANKS = ("", "", "", " ", "\n", "\t\r\n ")
LONE = ("\\ud800", "\\u0000", "\\/", "\\u0061", "\\ud83d\\ude42")


class Material:
    """
    One case's chance.

    Attributes:
        random: For whatever is not here.
    """

    def __init__(self, random: Random) -> None:
        self.random = random

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def text(self) -> str:
        random = self.random
        if random.random() < 0.7:
            return random.choice(TEXTS)
        return "".join(random.choice(TEXTS)[:9] for _ in range(random.randint(1, 4)))

    def value(self, depth: int = 3, *, deep: bool = True) -> Any:
        """A JSON value, lone surrogates and integers of any size included; now and then a *deep* one."""
        random = self.random
        kind = random.randrange(8 if depth else 5)
        if kind < 2:
            return self.text()
        if kind == 2:
            return random.choice(NUMBERS)
        if kind < 5:
            return random.choice((None, True, False))
        if deep and kind == 5 and random.random() < 0.05:
            return self._nested()
        if kind < 7:
            return {self.text(): self.value(depth - 1, deep=deep) for _ in range(random.randrange(4))}
        return [self.value(depth - 1, deep=deep) for _ in range(random.randrange(4))]

    def _nested(self) -> Any:
        value: Any = 1
        for _ in range(self.random.choice((20, DEEP, 190, 210, 260, 600, 950))):
            value = [value] if self.random.random() < 0.5 else {"a": value}
        return value

    def spoilt(self, value: Any, part: float = 0.3) -> Any:
        """*value* with some of what is in it replaced by something else."""
        if self.random.random() < part / 4:
            return self.value(2)
        if isinstance(value, dict):
            kept = {key: self.spoilt(item, part) for key, item in value.items() if not self.chance(part / 8)}
            return kept | ({self.text(): self.value(2)} if self.chance(part / 4) else {})
        if isinstance(value, list):
            return [self.spoilt(item, part) for item in value]
        return value

    def mangled(self, data: bytes) -> bytes:
        """*data* cut, repeated, or with bytes changed."""
        random = self.random
        for _ in range(random.randint(1, 3)):
            start = random.randrange(len(data) + 1)
            end = min(len(data), start + random.choice((0, 1, 1, 2, 8, 64)))
            odd = random.choice(
                (b"", b"\x00", b"\xff\xfe", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\u", b"NaN", b"1e9")
            )
            data = random.choice((data[:start], data[:start] + odd + data[end:], data[:end] + data[start:]))
        return data

    # -- JSON as text -------------------------------------------------------------------------------

    def written(self, value: Any) -> bytes:
        """*value* as JSON, with blanks, escapes, members that stand twice and numbers of all kinds."""
        return self._written(value).encode("utf-8", "surrogatepass").replace(b"\xed\xa0\x80", b"\\ud800")

    def _written(self, value: Any) -> str:
        if isinstance(value, dict):
            members = list(value.items())
            if members and self.chance(0.1):
                members.insert(0, (members[-1][0], self.value(1, deep=False)))  # the last one counts
            inside = (
                f"{self._blank()}{self._string(key)}{self._blank()}:{self._written(item)}" for key, item in members
            )
            return self._around("{" + ",".join(inside) + self._blank() + "}")
        if isinstance(value, list):
            return self._around("[" + ",".join(map(self._written, value)) + self._blank() + "]")
        if isinstance(value, str):
            return self._around(self._string(value))
        if isinstance(value, Raw):
            return value.text
        return self._around(json.dumps(value))

    def raw(self) -> Any:
        """A value, or a number or text that Python would not write so."""
        if self.chance(0.02):
            levels = self.random.choice((DEEP, 190, 300, 900, 1100, 20_000))
            return Raw("[" * levels + "]" * levels if self.chance(0.5) else '{"a":' * levels + "1" + "}" * levels)
        if self.chance(0.3):
            return Raw(self.random.choice(NUMBER_TEXTS) if self.chance(0.6) else f'"{self.random.choice(LONE)}"')
        return self.value(2, deep=False)

    def _string(self, text: str) -> str:
        # Escaped where UTF-8 has no form for it, and now and then where it has.
        plain = not self.chance(0.3) and not any("\ud800" <= c <= "\udfff" for c in text)
        return json.dumps(text, ensure_ascii=not plain)

    def _blank(self) -> str:
        return self.random.choice(BLANKS)

    def _around(self, text: str) -> str:
        return self._blank() + text + self._blank()


class Raw:
    """JSON that is to be written as it is."""

    def __init__(self, text: str) -> None:
        self.text = text


class Pairs(list[tuple[str, Any]]):
    """An object as it is written: members in order, also those that stand twice."""


def as_written(data: bytes) -> Any:
    """
    Read JSON so that nothing of it is lost: order, double members, numbers as their text.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(
            data.decode(), object_pairs_hook=Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_refuse
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _Number(str):
    """A number's text, which is not the string of the same characters."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Number) and str.__eq__(self, other)

    __hash__ = str.__hash__


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
