"""
CEL expressions read without evaluation: the names one mentions, how deep it goes.

The library tells the roots of names only; which node's output is needed, and what is to be handed over at all,
takes the whole path. Whether the text is CEL is for the library to say: this reader takes more than CEL allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_MACROS = 2
MOST_BRACKETS = 48

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})

TYPE_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})

FUNCTIONS = frozenset(
    {
        "bool",
        "bytes",
        "contains",
        "double",
        "duration",
        "dyn",
        "endsWith",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
        "has",
        "int",
        "matches",
        "size",
        "startsWith",
        "string",
        "timestamp",
        "type",
        "uint",
    }
)
"""What the standard library has, and nothing that answers differently another time."""

_TOKEN = re.compile(
    r"""
      (?P<space>(?:[ \t\r\n\f]+|//[^\n]*)+)
    | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)'''|"[^"\r\n]*"|'[^'\r\n]*'))
    | (?P<text>[bB]?(?:\"\"\"(?s:(?:\\.|[^\\])*?)\"\"\"|'''(?s:(?:\\.|[^\\])*?)'''
        |"(?:\\.|[^\\"\r\n])*"|'(?:\\.|[^\\'\r\n])*'))
    | (?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<quoted>`[^`\r\n]+`)
    | (?P<sign>&&|\|\||[<>=!]=|[-+*/%<>!?:,.()\[\]{}])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)", re.DOTALL)
_PLAIN_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ANSWERING = frozenset({"==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"})
_WORDS = frozenset({"true", "false", "null", "in"})
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ARITHMETIC = frozenset({"-", "*", "/", "%"})
_LOOKED_AT = 16  # additions after which a sum is looked at, so that it can't fill the memory


class Unreadable(ValueError):
    """The text is no expression we take; `at` is the character it goes wrong at."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Path:
    """
    A name with what is reached for inside it, as far as that stands in the text.

    Attributes:
        parts: `nodes.a["b c"].text` is ("nodes", "a", "b c", "text").
        at: Where it begins, in characters.
        asked: Only asked for by `has`: the last part may be missing.
        walked: A macro goes over it, or one part of it is picked.
    """

    parts: tuple[str, ...]
    at: int
    asked: bool = False
    walked: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """
    A call of a function or macro.

    Attributes:
        at, opens, closes: Characters of the text: where the name begins, and the brackets.
        member: It is called on something: `a.f(b)`.
        macro: With a variable of its own.
        last: Of a macro where its last argument begins, which is what it answers or collects.
        answers: That is true or false, whatever the values in it.
    """

    name: str
    at: int
    opens: int
    closes: int
    member: bool
    macro: bool = False
    variable: str = ""
    last: int = 0
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Addition:
    """
    Operands that are added up, whose sum may be a text or a list.

    Attributes:
        at: Where it begins, in characters.
        ends: Where it ends; before that where so much was added that the sum should be looked at.
        operands: How many there are.
        macros: Names of those that it stands in, the outermost first.
    """

    at: int
    ends: tuple[int, ...]
    operands: int
    macros: tuple[str, ...]


@dataclass(slots=True)
class Expression:
    """
    Attributes:
        paths: In the order of the text; variables of macros are none.
        patterns: Regular expressions written out as the argument of `matches`, and where.
    """

    paths: list[Path] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    patterns: list[tuple[str, int]] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)


def read(text: str) -> Expression:
    """
    Raises:
        Unreadable: It is no sequence of CEL's words, or nested too deeply.
    """
    reader = _Reader(list(_tokens(text)), len(text))
    reader.expression(frozenset(), ())
    reader.end()
    return reader.found


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"unexpected {text[at]!r}", at)
        if match.lastgroup != "space":
            yield _Token(match.lastgroup or "", match[0], at)
        at = match.end()


@dataclass(slots=True)
class _Run:
    """
    Operands with arithmetic between them, as they are read.

    Attributes:
        first: Its first token.
        sums: Where what stands before each plus ends.
        numbers: Operands and operators that allow for numbers and times only.
    """

    first: int
    sums: list[int] = field(default_factory=list)
    numbers: int = 0


@dataclass(slots=True)
class _Reader:
    """Goes through the tokens once; brackets are what it recurses for."""

    tokens: list[_Token]
    length: int
    found: Expression = field(default_factory=Expression)
    _next: int = 0
    _depth: int = 0
    _number: bool = False  # the last operand is a number that stands in the text

    def expression(self, bound: frozenset[str], macros: tuple[str, ...]) -> bool:
        """
        Read operands and the operators between them; which binds closer matters for sums only.

        Returns:
            Whether its value is true or false by what stands between them.
        """
        run = _Run(self._next)
        answers = self._operand(bound, macros)
        run.numbers += self._number
        signs = set[str]()
        while self._peek() not in ("", ",", ")", "]", "}"):
            end, sign = self._end(), self._take().text
            signs.add(sign)
            if sign == "+":
                run.sums.append(end)
            elif sign not in _ARITHMETIC:
                self._note_sum(run, end, macros)
                run = _Run(self._next)
            self._operand(bound, macros)
            run.numbers += self._number + (sign in _ARITHMETIC)
        self._note_sum(run, self._end(), macros)
        return not signs.isdisjoint(_ANSWERING) and "?" not in signs if signs else answers

    def _note_sum(self, run: _Run, end: int, macros: tuple[str, ...]) -> None:
        if run.sums and not (run.numbers and len(run.sums) <= _LOOKED_AT):
            ends = (*run.sums[_LOOKED_AT::_LOOKED_AT], end)
            self.found.additions.append(Addition(self.tokens[run.first].at, ends, len(run.sums) + 1, macros))

    def end(self) -> None:
        """Check that nothing is left."""
        if self._next < len(self.tokens):
            token = self.tokens[self._next]
            raise Unreadable(f"unexpected {token.text!r}", token.at)

    def _peek(self) -> str:
        return self.tokens[self._next].text if self._next < len(self.tokens) else ""

    def _end(self) -> int:
        """Answer where the last token that was taken ends."""
        token = self.tokens[self._next - 1]
        return token.at + len(token.text)

    def _take(self) -> _Token:
        if self._next >= len(self.tokens):
            raise Unreadable("ends too early", self.length)
        self._next += 1
        return self.tokens[self._next - 1]

    def _operand(self, bound: frozenset[str], macros: tuple[str, ...]) -> bool:
        """Read one; tells whether it is an expression in brackets, and nothing more, that is true or false."""
        token, answers = self._take(), False
        while token.text in ("!", "-"):
            token = self._take()
        parts: tuple[str, ...] | None = None
        if token.text == ".":
            token = self._take()
        if token.kind == "name" and self._peek() == "(" and token.text not in _WORDS:
            self._call(token, bound, macros)
        elif token.kind == "name":
            hidden = token.text in bound or token.text in _WORDS or token.text in TYPE_NAMES
            parts = None if hidden else (token.text,)
        elif token.text in _CLOSING:
            answers = self._bracket(token, bound, macros)[1] and token.text == "("
        elif token.kind not in ("text", "raw", "number"):
            raise Unreadable(f"unexpected {token.text!r}", token.at)
        behind = self._next
        self._members(parts, token.at, bound, macros)
        self._number = token.kind == "number" and self._next == behind
        return answers and self._next == behind

    def _members(self, parts: tuple[str, ...] | None, at: int, bound: frozenset[str], macros: tuple[str, ...]) -> None:
        """Follow `.name`, `.call(…)` and `[…]`; the path ends where the text does not say the next part."""
        while (sign := self._peek()) in (".", "[", "{"):
            opening = self._take()
            if sign == ".":
                name = self._take()
                if self._peek() == "(":
                    self._note(parts, at, walked=name.text in MACROS)
                    parts = None
                    self._call(name, bound, macros, member=True)
                elif parts is not None:
                    parts = (*parts, name.text.strip("`"))
            elif sign == "[" and parts is not None and (key := self._written_key()) is not None:
                parts = (*parts, key)
            else:
                self._note(parts, at, walked=True)
                parts = None
                self._bracket(opening, bound, macros)
        self._note(parts, at)

    def _note(self, parts: tuple[str, ...] | None, at: int, *, walked: bool = False) -> None:
        if parts is not None:
            self.found.paths.append(Path(parts, at, walked=walked))

    def _written_key(self) -> str | None:
        """Take `"key"]` if that is what follows."""
        if self._next + 1 < len(self.tokens) and self.tokens[self._next + 1].text == "]":
            token = self.tokens[self._next]
            if token.kind in ("text", "raw") and token.text[0] in "\"'rR":
                self._next += 2
                return _written(token)
        return None

    def _call(self, name: _Token, bound: frozenset[str], macros: tuple[str, ...], *, member: bool = False) -> None:
        opening = self._take()
        if member and name.text in MACROS and self._binds():
            self._macro(name, opening, bound, macros)
            return
        first = self._next
        before = len(self.found.paths)
        self._bracket(opening, bound, macros)
        closing = self.tokens[self._next - 1]
        self.found.calls.append(Called(name.text, name.at, opening.at, closing.at, member))
        if name.text == "has" and not member and len(self.found.paths) == before + 1:
            asked = self.found.paths[before]
            self.found.paths[before] = Path(asked.parts, asked.at, asked=True)
        if name.text == "matches" and self.tokens[self._next - 2].kind in ("text", "raw"):
            pattern = self.tokens[self._next - 2]
            if first == self._next - 2 or self.tokens[self._next - 3].text == ",":
                self.found.patterns.append((_written(pattern), pattern.at))

    def _binds(self) -> bool:
        """Tell whether a variable and a comma follow."""
        ahead = self.tokens[self._next : self._next + 2]
        return len(ahead) == 2 and ahead[0].kind == "name" and ahead[1].text == ","

    def _macro(self, name: _Token, opening: _Token, bound: frozenset[str], macros: tuple[str, ...]) -> None:
        if len(macros) == MOST_MACROS:
            raise Unreadable(f"more than {MOST_MACROS} macros inside one another", opening.at)
        variable = self._take()
        self._take()
        last, answers = self._bracket(opening, bound | {variable.text}, (*macros, name.text))
        closing = self.tokens[self._next - 1]
        self.found.calls.append(
            Called(name.text, name.at, opening.at, closing.at, True, True, variable.text, last, answers)
        )

    def _bracket(self, opening: _Token, bound: frozenset[str], macros: tuple[str, ...]) -> tuple[int, bool]:
        """
        Read what stands between brackets, the closing one included.

        Returns:
            Where the last of it begins, and what `expression` says of that.
        """
        self._depth += 1
        if self._depth > MOST_BRACKETS:
            raise Unreadable(f"more than {MOST_BRACKETS} brackets inside one another", opening.at)
        closing, last, answers = _CLOSING[opening.text], opening.at, False
        while self._peek() != closing:
            last = self.tokens[self._next].at if self._next < len(self.tokens) else self.length
            answers = self.expression(bound, macros)
            if self._peek() == ",":
                self._take()
            elif self._peek() != closing:
                token = self._take()
                raise Unreadable(f"unexpected {token.text!r}, {closing!r} is missing", token.at)
        self._take()
        self._depth -= 1
        return last, answers


def _written(token: _Token) -> str:
    """Answer the text that a literal stands for."""
    text = token.text.lstrip("rRbB")
    width = 3 if text[:3] in ('"""', "'''") and len(text) >= 6 else 1
    inside = text[width:-width]
    return inside if token.kind == "raw" else _ESCAPE.sub(_escaped, inside)


def _escaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xXuU" and len(code) > 1:
        return chr(min(int(code[1:], 16), 0x10FFFF))
    if len(code) == 3:
        return chr(int(code, 8))
    return _PLAIN_ESCAPES.get(code, code)
