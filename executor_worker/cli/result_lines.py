"""Results as they come: a line each for people on a terminal, JSON lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from executor_worker.cli.display import as_json, console, on_terminal, one_line, print_json_line
from executor_worker.cli.waiting import Expected, Show

WIDEST_NAME = 40
LONGEST_TEXT = 200


def shower_of(expected: Sequence[Expected], *, as_json: bool) -> Show:
    """Choose how results are shown on stdout."""
    if as_json or not on_terminal():
        return print_json_line
    return _Lines(expected).show


class _Lines:
    """The demo's lines: when, whether it went well, which node, what came of it."""

    def __init__(self, expected: Sequence[Expected]) -> None:
        self._console = console()
        self._started = time.monotonic()
        names = [f"{one.item.graph_id}/{one.item.node_id}" for one in expected]
        self._width = min(max(map(len, names), default=0), WIDEST_NAME)

    def show(self, event: dict[str, Any]) -> None:
        from rich.text import Text

        good = event.get("type") == "node.completed"
        style = "bold green" if good else "bold red"
        name = one_line(f"{event.get('graph_id')}/{event.get('node_id')}", WIDEST_NAME).ljust(self._width)
        line = Text.assemble(
            (f"{time.monotonic() - self._started:5.1f}s ", "dim"),
            ("✓ " if good else "✗ ", style),
            (name, "bold"),
            "  ",
            (result_text(event), "" if good else "red"),
            (f"  {_how_long(event)}", "dim"),
        )
        self._console.print(line, soft_wrap=True)


def result_text(event: dict[str, Any]) -> str:
    """Say in a line what came of a node: what it gave, or why it failed."""
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    if event.get("type") != "node.completed" or data.get("error"):
        return one_line(f"{data.get('error_code')}: {data.get('error')}", LONGEST_TEXT)
    return output_text(data.get("output"))


def output_text(output: Any, most: int = LONGEST_TEXT) -> str:
    """Say in a line what a node gave: a model's words as they are, all else as JSON."""
    if isinstance(output, dict):
        said = next((output[name] for name in ("result", "content") if isinstance(output.get(name), str)), None)
        output = said if said is not None and "usage" in output else output
    return one_line(output if isinstance(output, str) else as_json(output), most)


def _how_long(event: dict[str, Any]) -> str:
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    if data.get("run_before"):
        return "(had been run before)"
    took = data.get("duration_ms")
    return f"({data.get('mode')}, {took / 1000:.2f} s)" if isinstance(took, int | float) else ""
