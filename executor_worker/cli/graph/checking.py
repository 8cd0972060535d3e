"""`graph validate` and `graph draw`: a graph looked at before anything runs."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from executor_worker.cli.display import on_terminal, print_json
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.cli.files import writable
from executor_worker.cli.graph.reading import read_value
from executor_worker.graph.definition import Graph
from executor_worker.graph.drawing import svg, text
from executor_worker.graph.problems import Problem
from executor_worker.graph.validation import Limits, Report, check
from executor_worker.nodes import spec
from executor_worker.providers.retirement import retired
from executor_worker.settings import Settings

_WIDTH = 100


def validate(settings: Settings, args: argparse.Namespace) -> int:
    """Tell all that is wrong with a graph; status 1 if something is."""
    report = checked(read_value(args.file, settings.max_graph_bytes), limits_of(settings))
    if args.json or not on_terminal():
        print_json(report.as_dict())
    else:
        _print_report(report)
    return DONE if report.valid else FAILED


def draw(args: argparse.Namespace) -> int:
    """Draw a graph as text, or as SVG into a file."""
    graph = _graph_in(read_value(args.file))
    if args.svg:
        with writable(args.svg) as file:
            file.write(svg.draw(graph).encode())
        return DONE
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if on_terminal() else _WIDTH
    utf8 = (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
    print(text.draw(graph, width, ascii_only=not utf8))
    return DONE


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the API keeps to as well."""
    return Limits(settings.max_graph_nodes, settings.max_graph_edges)


def checked(document: Any, limits: Limits | None = None) -> Report:
    """Check a graph, or `{"graph", "inputs"}` with pointers from there."""
    if not _wrapped(document):
        return check(document, limits, config_rules=spec.read, retired=_retired)
    inputs = document.get("inputs")
    known = inputs if isinstance(inputs, dict) else None
    return check(document["graph"], limits, config_rules=spec.read, retired=_retired, inputs=known).under("/graph")


def _graph_in(document: Any) -> Graph:
    """
    Read what can be drawn of a document.

    Raises:
        Quit: There is nothing to draw; status 1.
    """
    report = checked(document)
    if report.located is None or not report.located.nodes:
        raise Quit(FAILED, *lines(report.errors))
    return report.located.graph


def _wrapped(document: Any) -> bool:
    return isinstance(document, dict) and "nodes" not in document and isinstance(document.get("graph"), dict)


def _retired(model: str) -> str | None:
    return retired(model) if model.startswith("claude") else None


def _print_report(report: Report) -> None:
    for problems, word in ((report.errors, "error"), (report.warnings, "warning")):
        for line in lines(problems):
            print(f"{word}  {line}")
    if report.valid:
        nodes = sum(len(level) for level in report.order)
        print(f"ok: {nodes} node{'' if nodes == 1 else 's'} in {len(report.order)} steps")


def lines(problems: Iterable[Problem]) -> list[str]:
    """Write problems for people, a line each."""
    return [f"{problem.pointer or '/'}  {problem.message}. {problem.fix}" for problem in problems]
