"""Docstrings begin with a word to search for: an imperative, or the name of the thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.kit.paths import ROOT

PACKAGES = ("executor_worker", "orchestrator", "supervisor", "benchmarks", "scripts", "tests/kit")
HEADLESS = frozenset(
    {"what", "who", "whoever", "whose", "how", "where", "why", "which", "also", "nobody", "somebody"}
    | {"anybody", "everybody", "that", "whether"},
)
"""Beginnings of clauses without a subject: they say neither what a thing is nor what it does."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def headless(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of docstrings that begin with one of those words."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Documented):
            continue
        first, _, _ = (ast.get_docstring(node) or "").partition("\n")
        word = re.match(r"[A-Za-z]+", first)
        if word and word[0].lower() in HEADLESS:
            yield node.body[0].lineno, first


def sources() -> Iterator[Path]:
    """Yield the modules that are written by hand: what protoc makes takes its words from the .proto file."""
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if "_pb2" not in path.stem)


def test_headless_finds_docstrings_of_modules_classes_and_functions() -> None:
    """The rule sees every kind of docstring, also one whose text begins on the line below the quotes."""
    method = '    def b(self):\n        """Whether it is."""\n'
    source = f'"""How it is."""\nclass A:\n    """\n    What it is.\n    """\n{method}'
    assert [text for _, text in headless(source)] == ["How it is.", "What it is.", "Whether it is."]
    assert not list(headless('def c():\n    """Tell whether it is."""\n'))


def test_no_docstring_begins_with_a_headless_clause() -> None:
    """A first line is found by the word one would search for."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}" for path in sources() for line, text in headless(path.read_text())
    ]
    assert not found, "begin these with an imperative or a noun:\n" + "\n".join(found)
