"""
Prompts of routers: templates with blocks and helpers, as the original's routers took them.

    {{message}} {{inputs.message}} {{state.message}} {{nodes.a.text}}     values, as in any template
    {{uppercase name}} {{default tier "free"}} {{join tags ", "}}          helpers
    {{#if (gt score 5)}} … {{else if vip}} … {{else}} … {{/if}}            blocks: if, unless, each, with
    {{#each items}} {{@index}} {{this.name}} {{../title}} {{/each}}        also {{#each items as |item number|}}

Texts go in as they are, all else as JSON: nothing is escaped. A name that leads nowhere is an error if it is to be
written out, and null in a helper or block. `{{~` and `~}}` eat the space beside them, `{{! … }}` is a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from executor_worker.errors import TemplateError
from executor_worker.graph.prompt_helpers import HELPERS, as_text, is_true
from executor_worker.graph.prompt_syntax import (
    Block,
    Call,
    Literal,
    Name,
    Piece,
    SyntaxProblem,
    Term,
    parse,
)

MOST_STEPS = 200_000
MOST_CHARS = 4 * 1024 * 1024


class Rendering(Protocol):
    """The renderer of a node's templates: names are looked up by it."""

    def value(self, template: Any, where: Any) -> Any:
        """Render every text in *template*; one placeholder alone keeps its value's type."""


@lru_cache(maxsize=256)
def parsed(template: str) -> tuple[Piece, ...]:
    """
    Read a prompt.

    Raises:
        TemplateError: A block is not closed, a helper unknown, an argument no argument.
    """
    try:
        return parse(template)
    except SyntaxProblem as problem:
        raise TemplateError(f"prompt_template: {problem}") from None


def names(template: str) -> Iterator[tuple[str, bool]]:
    """Yield the names that *template* looks up, and whether each must be there; those of blocks are left out."""
    for piece in parsed(template):
        yield from _names_of(piece, frozenset(), inside=False)


def _names_of(piece: Piece, bound: frozenset[str], *, inside: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(piece, str):
        return
    if isinstance(piece, Block):
        yield from ((name, False) for name in _names_in(piece.term, bound, inside=inside))
        within = inside or piece.kind in ("each", "with")
        for one in piece.body:
            yield from _names_of(one, bound | set(piece.variables), inside=within)
        for one in piece.otherwise:
            yield from _names_of(one, bound, inside=inside)
    else:
        yield from ((name, isinstance(piece, Name)) for name in _names_in(piece, bound, inside=inside))


def _names_in(term: Term, bound: frozenset[str], *, inside: bool) -> Iterator[str]:
    if isinstance(term, Call):
        for argument in term.arguments:
            yield from _names_in(argument, bound, inside=inside)
    elif isinstance(term, Name) and not inside and term.first not in bound and not term.local:
        yield term.text


def render(template: str, scope: Rendering, state: Mapping[str, Any]) -> str:
    """
    Render a prompt.

    Args:
        scope: Looks names up, inputs and nodes.
        state: What `state.` leads to; an input called `state` goes before it.

    Raises:
        TemplateError: An unknown name, a prompt that can't be read, or one that grows too large.
    """
    writer = _Writer(scope, state)
    writer.write(parsed(template), _Frame())
    return "".join(writer.texts)


_MISSING = object()


@dataclass(slots=True)
class _Frame:
    """The frame in which a name is looked up first: a block's item, its own variables, then the block around it."""

    this: Any = _MISSING
    variables: dict[str, Any] = field(default_factory=dict)
    around: _Frame | None = None


@dataclass(slots=True)
class _Writer:
    scope: Rendering
    state: Mapping[str, Any]
    texts: list[str] = field(default_factory=list)
    _steps: int = 0
    _chars: int = 0

    def write(self, pieces: tuple[Piece, ...], frame: _Frame) -> None:
        for piece in pieces:
            self._count()
            if isinstance(piece, str):
                self._add(piece)
            elif isinstance(piece, Block):
                self._block(piece, frame)
            else:
                self._add(as_text(self._needed(piece, frame)))

    def _count(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise TemplateError(f"prompt_template: takes more than {MOST_STEPS:,} steps")

    def _add(self, text: str) -> None:
        self.texts.append(text)
        self._chars += len(text)
        if self._chars > MOST_CHARS:
            raise TemplateError(f"prompt_template: renders to more than {MOST_CHARS:,} characters")

    def _block(self, block: Block, frame: _Frame) -> None:
        value = self._value(block.term, frame)
        if block.kind == "each":
            self._each(block, value, frame)
        elif block.kind == "with" and is_true(value):
            variables = dict.fromkeys(block.variables[:1], value)
            self.write(block.body, _Frame(value, variables, frame))
        elif block.kind != "with" and is_true(value) is (block.kind == "if"):
            self.write(block.body, frame)
        else:
            self.write(block.otherwise, frame)

    def _each(self, block: Block, value: Any, frame: _Frame) -> None:
        items = list(value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()))
        for index, (key, item) in enumerate(items):
            position = {"@index": index, "@key": key, "@first": index == 0, "@last": index == len(items) - 1}
            named = dict(zip(block.variables, (item, key), strict=False))
            self.write(block.body, _Frame(item, {**position, **named}, frame))
        if not items:
            self.write(block.otherwise, frame)

    def _needed(self, term: Term, frame: _Frame) -> Any:
        if not isinstance(term, Name):
            return self._value(term, frame)
        value = self._look_up(term, frame)
        if value is _MISSING and term.local:
            raise TemplateError(f"prompt_template: unknown name {{{{{term.text}}}}}")
        return self.scope.value(f"{{{{{term.text}}}}}", "prompt_template") if value is _MISSING else value

    def _value(self, term: Term, frame: _Frame) -> Any:
        if isinstance(term, Literal):
            return term.value
        if isinstance(term, Name):
            value = self._look_up(term, frame)
            return None if value is _MISSING else value
        self._count()
        return HELPERS[term.helper].apply([self._value(argument, frame) for argument in term.arguments])

    def _look_up(self, name: Name, frame: _Frame) -> Any:
        """Look inside the blocks around first, then where all templates do, then in the state."""
        if name.first == "@root":
            name = Name(".".join(name.parts[1:]), name.parts[1:])
            frame = _Frame()
        at: _Frame | None = frame
        for _ in range(name.up):
            at = at.around if at is not None else None
        found = self._in_blocks(name, at)
        if found is not _MISSING or name.local:
            return found
        try:
            return self.scope.value(f"{{{{{name.text}}}}}", "prompt_template")
        except TemplateError:
            return _inside(self.state, name.parts[1:]) if name.first == "state" else _MISSING

    def _in_blocks(self, name: Name, frame: _Frame | None) -> Any:
        while frame is not None:
            if name.first in frame.variables:
                return _inside(frame.variables[name.first], name.parts[1:])
            if name.this:
                return frame.this if frame.this is _MISSING else _inside(frame.this, name.parts)
            found = _inside(frame.this, name.parts)
            if found is not _MISSING:
                return found
            frame = frame.around
        return _MISSING


def _inside(value: Any, parts: tuple[str, ...]) -> Any:
    for part in parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif (
            isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(value)
        ):
            value = value[int(part)]
        else:
            return _MISSING
    return value
