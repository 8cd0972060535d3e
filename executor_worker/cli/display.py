"""Results on stdout: tables for people, plain columns for pipes, JSON for programs."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

# What a word means at a glance, whatever table it stands in.
COLOURS = {
    **dict.fromkeys(("idle", "healthy", "connected", "completed", "ok", "running"), "green"),
    **dict.fromkeys(("busy", "starting", "draining", "degraded", "reloading", "paused"), "yellow"),
    **dict.fromkeys(("dead", "unhealthy", "disconnected", "failed", "fix", "stopped", "over"), "red"),
}
_FAILED = (
    r"^problem: .*|\b[1-9][\d.]*[kMG]? failed\b[^;,]*|\b(unhealthy|disconnected|[1-9]\d* (dead|unhealthy|stopped))\b"
)
_WARNING = r"\b(degraded|draining|paused)\b"
# Columns in which anything but nothing is bad news.
_ALARMING = ("dead", "failed/min", "error", "reason", "why")
_NOTHING = ("", "-", "0")
_NUMBER = re.compile(r"\$?\d[\d.,]*( of \d+)?( ?([kMGsmhd%B]|ms|[KMGT]iB))?( ago)?")
_NO_NUMBER = ("-", "now", "over")  # what stands for one
LONGEST = 2000  # characters of a cell
GAP = 2  # between two columns
NARROWEST = 6  # what a column is cut down to
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def on_terminal(stream: IO[str] | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def print_json(value: Any) -> None:
    """Print *value* over several lines on a terminal, on one line in a pipe."""
    if on_terminal():
        print(as_json(value, indent=2), flush=True)
    else:
        print_json_line(value)


def print_json_line(value: Any) -> None:
    print(as_json(value), flush=True)


def as_json(value: Any, indent: int | None = None) -> str:
    """Write *value* as JSON that stays JSON on stdout: in ASCII alone if that takes no UTF-8."""
    utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    return json.dumps(value, ensure_ascii=not utf8, default=str, indent=indent)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], spare: Sequence[str] = ()) -> None:
    """
    Print a table with rich on a terminal, nothing if it is empty; else aligned columns with a head line.

    Args:
        spare: Columns that a narrow terminal goes without, the first one first.
    """
    if on_terminal():
        if not rows:
            return  # its caller says so in a sentence
        screen = console()
        screen.print(rich_table(columns, rows, screen.width, spare))
        return
    cells = [
        [column.upper().replace(" ", "_") for column in columns],
        *([_plain(cell) for cell in row] for row in rows),
    ]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    pads = [str.rjust if _are_numbers(rows, index) else str.ljust for index in range(len(columns))]
    for line in cells:
        print("  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip())


def _are_numbers(rows: Sequence[Sequence[Any]], index: int) -> bool:
    """Tell whether a column's cells are figures, with units or without: they are read from the right."""
    texts = [_plain(row[index]) for row in rows]
    if all(text in _NO_NUMBER for text in texts):
        return bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
    return all(text in _NO_NUMBER or _NUMBER.fullmatch(text) for text in texts)


def _style(column: str, text: str) -> str:
    """Colour what is said: by the word, and where anything at all is bad news."""
    return "red" if column in _ALARMING and text not in _NOTHING else COLOURS.get(text, "")


def rich_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int, spare: Sequence[str] = (), *, fold: bool = True
) -> Table:
    """
    Make a table that is at most *width* wide.

    Args:
        spare: Columns that are left out if there is no room, the first one first; then the widest give way.
        fold: Whether what is too long is shown on several lines; else its middle is left out.
    """
    from rich import box  # rich: a twentieth of a second that pipes can do without
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    shown = _fitting(columns, rows, spare, width)
    for index, wide in shown.items():
        justify: Literal["left", "right"] = "right" if _are_numbers(rows, index) else "left"
        table.add_column(columns[index], justify=justify, overflow="fold", width=wide)
    for row in rows:
        texts = {index: _plain(row[index]) for index in shown}
        cells = {index: text if fold else _cut(text, shown[index]) for index, text in texts.items()}
        table.add_row(*(Text(cell, style=_style(columns[index], texts[index])) for index, cell in cells.items()))
    return table


def coloured(line: str) -> Text:
    """Colour what of a line of words is bad news."""
    from rich.text import Text

    text = Text(line)
    text.highlight_regex(_WARNING, "yellow")
    text.highlight_regex(_FAILED, "red")
    return text


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[Any]], spare: Sequence[str], width: int) -> dict[int, int]:
    """Choose the columns to show, by their place, and the width of each."""
    wide = {at: max([len(name), *(len(_plain(row[at])) for row in rows)]) for at, name in enumerate(columns)}
    for name in spare:
        if _total(wide) > width:
            del wide[columns.index(name)]
    while _total(wide) > width and max(wide.values()) > NARROWEST:
        wide[max(wide, key=lambda at: wide[at])] -= 1
    return wide


def _total(wide: dict[int, int]) -> int:
    return sum(wide.values()) + GAP * (len(wide) - 1)


def _cut(text: str, width: int) -> str:
    """Leave out the middle of *text*: names begin alike, and often only their ends differ."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


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


def in_short(count: float) -> str:
    """Show a number in at most four digits: `950`, `15.2k`, `3.4M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 100 * size else f"{count / size:.0f}{unit}"
    return f"{count:.0f}"


def money(usd: float | None) -> str:
    """Show an amount of US dollars: cents and more, or what there is of a cent."""
    if usd is None:
        return "-"
    return f"${usd:.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"


def one_line(text: str, most: int = 100) -> str:
    """Show *text* on one line: nothing in it moves the cursor."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _plain(cell: Any) -> str:
    return "-" if cell is None or cell == "" else one_line(str(cell), LONGEST)
