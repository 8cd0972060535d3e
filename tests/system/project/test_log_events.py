"""docs/LOGS.md names every event there is, with its levels and fields, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.paths import ROOT

LOGGING = frozenset({"log", "_log", "debug", "info", "warning", "error", "warn", "_finish", "Line"})
LEVELS = {"debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error"}
SEATS = ("slot", "keeper", "service")  # what an f-string with `self.kind` stands for
NO_FIELDS = frozenset({"exception"})


@dataclass(frozen=True)
class Logged:
    """
    One call that logs.

    Attributes:
        levels: Those it may have; empty: decided elsewhere.
        fields: Those named in the call.
    """

    event: str
    levels: frozenset[str]
    fields: frozenset[str]
    at: str


def texts(node: ast.expr) -> list[str]:
    """All texts that an argument may be."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return texts(one) + texts(other)
        case ast.JoinedStr(values=parts):
            return ["".join(part.value if isinstance(part, ast.Constant) else seat for part in parts) for seat in SEATS]  # type: ignore[misc]
    return []


def logged_in(path: Path) -> Iterator[Logged]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or called(node.func) not in LOGGING:
            continue
        said = [text for argument in node.args[:3] for text in texts(argument)]
        for event in (text for text in said if "." in text):
            by_name = {LEVELS[called(node.func)]} if called(node.func) in LEVELS else set()
            levels = frozenset(by_name | {text for text in said if text in LEVELS.values()})
            fields = frozenset(fields_of(node)) - NO_FIELDS
            yield Logged(event, levels, fields, f"{path.relative_to(ROOT)}:{node.lineno}")


def called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def fields_of(call: ast.Call) -> Iterator[str]:
    """Those of the call, and of a `bind` before it."""
    yield from (keyword.arg for keyword in call.keywords if keyword.arg)
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        yield from fields_of(call.func.value)


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Event → levels and fields."""
    rows = [
        line.strip("|").split("|") for line in (ROOT / "docs" / "LOGS.md").read_text().splitlines() if line[:3] == "| `"
    ]
    return {name.strip(" `"): (set(words(levels)), set(words(fields))) for name, levels, fields, _ in rows}


def words(cell: str) -> list[str]:
    return re.findall(r"\w+", cell.replace("*", ""))


@pytest.fixture(scope="module")
def logged() -> list[Logged]:
    sources = [
        path for package in ("executor_worker", "orchestrator", "supervisor") for path in (ROOT / package).rglob("*.py")
    ]
    return [one for path in sources for one in logged_in(path)]


def test_every_event_is_documented_and_no_other(logged: list[Logged]) -> None:
    """The table is the program's own."""
    assert {one.event for one in logged} == set(documented())


def test_levels_are_the_documented_ones(logged: list[Logged]) -> None:
    """Each level an event is logged at; where a call decides by itself, the table says at least which there are."""
    table = documented()
    assert not [one for one in logged if not one.levels <= table[one.event][0]]
    decided = {one.event for one in logged if not one.levels}
    for event, (levels, _) in table.items():
        used = {level for one in logged if one.event == event for level in one.levels}
        assert used == levels or event in decided, event


def test_fields_are_the_documented_ones(logged: list[Logged]) -> None:
    """What a call names stands in the table."""
    table = documented()
    missing = {one.at: one.fields - table[one.event][1] for one in logged if not one.fields <= table[one.event][1]}
    assert not missing
