"""Read a router's prompt into texts, values and blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from executor_worker.graph.prompt_helpers import HELPERS

MOST_NESTED = 30

BLOCKS = ("if", "unless", "each", "with")


class SyntaxProblem(ValueError):
    """The prompt can't be read; says why."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, number, true, false or null written out."""

    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    """
    A name to look up.

    Attributes:
        up: How many `../` stand before it.
        this: It begins at a block's item: `this`, or `.`.
        local: It can't be an input or a node: `this`, `@index` and their like.
    """

    text: str
    parts: tuple[str, ...]
    up: int = 0
    this: bool = False

    @property
    def first(self) -> str:
        """Answer the first part, "" if there is none."""
        return self.parts[0] if self.parts else ""

    @property
    def local(self) -> bool:
        """Tell whether only blocks have it."""
        return self.this or self.first.startswith("@")


@dataclass(frozen=True, slots=True)
class Call:
    """A helper with its arguments."""

    helper: str
    arguments: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """
    Attributes:
        kind: One of `BLOCKS`; a helper used as a block is an `if`.
        variables: After `as`: the item's name, then its key's.
    """

    kind: str
    term: Term
    body: tuple[Piece, ...]
    otherwise: tuple[Piece, ...] = ()
    variables: tuple[str, ...] = ()


Term: TypeAlias = "Literal | Name | Call"
Piece: TypeAlias = "str | Literal | Name | Call | Block"

_WORD = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign>[()|])|(?P<word>(?:\[[^\]]*\]|[^\s()"'|\[])+))""",
    re.DOTALL,
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")
_CONSTANTS = {"true": True, "false": False, "null": None, "undefined": None}


def parse(template: str) -> tuple[Piece, ...]:
    """
    Raises:
        SyntaxProblem: A block is not closed, a helper unknown, an argument no argument.
    """
    return _Parser(list(_tags(template))).all()


@dataclass(frozen=True, slots=True)
class _Tag:
    inside: str


def _tags(template: str) -> Iterator[str | _Tag]:
    """Split into texts and tags; what is eaten or a comment is left out. One walk: nothing is looked for twice."""
    at, eat = 0, False
    for start, end in _spans(template):
        text = template[at:start]
        inside = template[start + 2 : end - 2]
        left, right = inside.startswith("~"), inside.endswith("~")
        inside = inside.removeprefix("~").removesuffix("~")
        text = text.lstrip() if eat else text
        text = text.rstrip() if left else text
        if text:
            yield text
        if not inside.startswith("!"):
            raw = inside.startswith("{") and inside.endswith("}")
            yield _Tag((inside[1:-1] if raw else inside).strip())
        at, eat = end, right
    rest = template[at:].lstrip() if eat else template[at:]
    if rest:
        yield rest


def _spans(template: str) -> Iterator[tuple[int, int]]:
    """Yield where each tag begins and ends."""
    at, long_comments = 0, True
    while (close := template.find("}}", at)) >= 0:
        comment = template.find("{{!", at, close)
        comment = comment if comment >= 0 else template.find("{{~!", at, close)
        if comment >= 0:
            end = -1
            if long_comments and template.startswith("!--", comment + 2 + (template[comment + 2] == "~")):
                end = min((at for sign in ("--}}", "--~}}") if (at := template.find(sign, comment)) >= 0), default=-1)
                long_comments = end >= 0
            at = template.index("}}", end if end >= 0 else comment) + 2
            yield comment, at
            continue
        start = template.rfind("{{", at, close)
        if start < 0:
            at = close + 2
            continue
        if start > at and template[start - 1] == "{" and template.startswith("}", close + 2):
            start, close = start - 1, close + 1
        at = close + 2
        yield start, at


@dataclass(slots=True)
class _Parser:
    tokens: list[str | _Tag]
    _next: int = 0
    _depth: int = 0

    def all(self) -> tuple[Piece, ...]:
        pieces, ended = self._pieces()
        if ended:
            raise SyntaxProblem(f"{{{{{ended}}}}} closes nothing")
        return pieces

    def _pieces(self) -> tuple[tuple[Piece, ...], str]:
        """Read until a tag that ends or divides a block; answer that too, "" at the end of the text."""
        pieces: list[Piece] = []
        while self._next < len(self.tokens):
            token = self.tokens[self._next]
            self._next += 1
            if isinstance(token, str):
                pieces.append(token)
            elif token.inside.startswith("#"):
                pieces.append(self._block(token.inside[1:].strip()))
            elif token.inside.startswith("/") or _divides(token.inside):
                return tuple(pieces), token.inside
            else:
                pieces.append(_output(token.inside))
        return tuple(pieces), ""

    def _block(self, opening: str) -> Block:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise SyntaxProblem(f"blocks are nested more than {MOST_NESTED} deep")
        kind, term, variables = _opening(opening)
        body, ended = self._pieces()
        otherwise: tuple[Piece, ...] = ()
        if _divides(ended):
            chained = ended.removeprefix("else").strip() if ended.startswith("else") else ""
            if chained:
                otherwise = (self._block(chained),)
                ended = f"/{opening.split(maxsplit=1)[0]}"  # the chain's end is this block's too
            else:
                otherwise, ended = self._pieces()
        if not ended.startswith("/"):
            raise SyntaxProblem(f"{{{{#{kind} …}}}} is not closed")
        self._depth -= 1
        return Block(kind, term, body, otherwise, variables)


def _divides(inside: str) -> bool:
    return inside == "^" or inside == "else" or inside.startswith("else ")


def _opening(text: str) -> tuple[str, Term, tuple[str, ...]]:
    """Read what opens a block: its kind, what it asks, its variables."""
    words = list(_words(text))
    if not words:
        raise SyntaxProblem("a block needs a name")
    kind = words[0]
    variables: tuple[str, ...] = ()
    if "as" in words and words[-1] == "|" and words[words.index("as") + 1 : words.index("as") + 2] == ["|"]:
        at = words.index("as")
        variables, words = tuple(words[at + 2 : -1]), words[:at]
    if kind in HELPERS:
        return "if", _Terms(words).call(), variables
    if kind not in BLOCKS:
        raise SyntaxProblem(f"there is no block {kind!r}: {', '.join(BLOCKS)}")
    terms = _Terms(words[1:])
    term = terms.term()
    terms.end()
    return kind, term, variables


def _output(inside: str) -> Piece:
    if inside.startswith(">"):
        raise SyntaxProblem("there are no partials")
    text = inside.removeprefix("&").strip()
    first = text.split(maxsplit=1)[0] if text else ""
    if first in HELPERS and text != first:
        terms = _Terms(list(_words(text)))
        call = terms.call()
        terms.end()
        return call
    return _name(text, whole=True)


def _words(text: str) -> Iterator[str]:
    at = 0
    while at < len(text.rstrip()):
        match = _WORD.match(text, at)
        if match is None:
            raise SyntaxProblem(f"can't be read: {text[at : at + 20]!r}")
        yield match["text"] or match["sign"] or match["word"]
        at = match.end()


@dataclass(slots=True)
class _Terms:
    words: list[str]
    _next: int = 0
    _depth: int = 0

    def call(self) -> Call:
        """Read a helper and all that follows up to a closing bracket."""
        name = self._take()
        if name not in HELPERS:
            raise SyntaxProblem(f"there is no helper {name!r}: {', '.join(HELPERS)}")
        arguments = []
        while self._next < len(self.words) and self.words[self._next] != ")":
            arguments.append(self.term())
        if len(arguments) != HELPERS[name].arguments:
            raise SyntaxProblem(f"{name} takes {HELPERS[name].arguments} arguments, found {len(arguments)}")
        return Call(name, tuple(arguments))

    def term(self) -> Term:
        word = self._take()
        if word == "(":
            self._depth += 1
            if self._depth > MOST_NESTED:
                raise SyntaxProblem(f"brackets are nested more than {MOST_NESTED} deep")
            inner = self.call()
            if self._take() != ")":
                raise SyntaxProblem("a bracket is not closed")
            self._depth -= 1
            return inner
        if word[0] in "\"'":
            return Literal(re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL))
        if word in (")", "|"):
            raise SyntaxProblem(f"unexpected {word!r}")
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word])
        if _NUMBER.match(word) and len(word) < 20:
            return Literal(float(word) if "." in word else int(word))
        return _name(word, whole=False)

    def end(self) -> None:
        if self._next < len(self.words):
            raise SyntaxProblem(f"unexpected {self.words[self._next]!r}")

    def _take(self) -> str:
        if self._next >= len(self.words):
            raise SyntaxProblem("an argument is missing")
        self._next += 1
        return self.words[self._next - 1]


def _name(text: str, *, whole: bool) -> Name:
    """Read a name; *whole*: all that stands between the braces, spaces included."""
    up, rest = 0, text
    while rest.startswith("../"):
        up, rest = up + 1, rest[3:]
    if rest in ("this", ".", ".."):
        return Name(text, (), up + (rest == ".."), this=True)
    this = rest.startswith(("this.", "this/", "./"))
    rest = re.sub(r"\A(this[./]|\./)", "", rest) if this else rest
    parts = tuple(part.strip("[]") for part in rest.split("."))
    plain = rest if whole or this else ".".join(parts)
    return Name(plain, parts, up, this)
