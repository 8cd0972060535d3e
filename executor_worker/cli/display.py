"""Results on stdout: tables for people, plain columns for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# What a word means at a glance, whatever table it stands in.
COLOURS = {
    **dict.fromkeys(("idle", "healthy", "connected", "completed", "ok", "running"), "green"),
    **dict.fromkeys(("busy", "starting", "draining", "degraded", "reloading"), "yellow"),
    **dict.fromkeys(("dead", "unhealthy", "disconnected", "failed", "fix", "stopped"), "red"),
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def on_terminal(stream: IO[str] | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def print_json(value: Any) -> None:
    """Print *value* over several lines on a terminal, on one line in a pipe."""
    if on_terminal():
        print(json.dumps(value, ensure_ascii=False, default=str, indent=2), flush=True)
    else:
        print_json_line(value)


def print_json_line(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table with rich on a terminal, else aligned columns with a head line."""
    if on_terminal():
        console().print(rich_table(columns, rows))
        return
    cells = [
        [column.upper().replace(" ", "_") for column in columns],
        *([_plain(cell) for cell in row] for row in rows),
    ]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    from rich import box  # rich: a twentieth of a second that pipes can do without
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(cell), style=COLOURS.get(str(cell), "")) for cell in row))
    return table


def console(stream: IO[str] | None = None) -> Console:
    from rich.console import Console

    class Honest(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for `main`: rich would exit by itself, with status 1

    return Honest(file=stream or sys.stdout, highlight=False)


def ago(seconds: float | None) -> str:
    """Show a time span as people say it: `4s`, `12m`, `3h`, `2d`."""
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0.0):.0f}s"


def in_bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size = float(count)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}"
        size /= 1024
    raise AssertionError("the last unit takes all")


def one_line(text: str, most: int = 100) -> str:
    """Show *text* on one line: nothing in it moves the cursor."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _plain(cell: Any) -> str:
    return "-" if cell is None or cell == "" else one_line(str(cell), 200)
