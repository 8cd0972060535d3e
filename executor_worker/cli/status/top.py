"""`top`: what `status` shows, live."""

from __future__ import annotations

import argparse
import contextlib
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.text import Text

from executor_worker.cli.display import coloured, console, on_terminal, rich_table
from executor_worker.cli.exits import DONE, USAGE, Quit
from executor_worker.cli.status.snapshot import Onlooker, Snapshot
from executor_worker.cli.status.view import Table, view
from executor_worker.settings import Settings

EVERY_S = 1.0
HEAD_LINES = 3  # of a table: an empty one, names, a rule
_LEAVE = ("q", "Q", "\x1b", "\x04")


def top(settings: Settings, args: argparse.Namespace) -> int:
    if not on_terminal() or not sys.stdin.isatty():
        raise Quit(USAGE, "`top` needs a terminal; elsewhere use `status` or `status --json`.")
    onlooker, screen = Onlooker(settings, everywhere=args.all, pool=args.pool), console()
    with _keys() as pressed, Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(onlooker.look(), screen.size), refresh=True)
            if pressed(EVERY_S):
                return DONE


class _Keys:
    """Called with seconds: waits so long, and tells whether the user wants to leave."""

    def __call__(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left)[0]:
                key = sys.stdin.read(1)
                if key in _LEAVE or not key:
                    return True
        return False


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Read keys as they are pressed; Ctrl-C stays Ctrl-C."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _Keys()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _screen(snapshot: Snapshot, size: ConsoleDimensions) -> RenderableType:
    """Lay out what fits on the screen: of the tables that come last it may be only the beginning."""
    shown = view(snapshot)
    parts: list[RenderableType] = [
        Text(f"{time.strftime('%H:%M:%S')}  q leaves", style="dim"),
        Text(shown.headline, style="bold"),
        *(Text(problem, style="red") for problem in snapshot.problems),
        *(coloured(f"{word + ':':<10} {said}") for word, said in shown.lines),
    ]
    room = size.height - sum(len(part.wrap(console(), size.width)) for part in parts if isinstance(part, Text))
    for table in shown.tables:
        room -= HEAD_LINES
        if room > 0:
            parts += [Text(""), *_cut(table, size.width, room)]
        room -= len(table.rows)
    return Group(*parts)


def _cut(table: Table, width: int, room: int) -> Iterator[RenderableType]:
    """Cut a table to as many of its rows as there is room for; the last line says of how many more there are."""
    shown = len(table.rows) if len(table.rows) <= room else room - 1
    yield rich_table(table.columns, table.rows[:shown], width, table.spare, fold=False)
    if shown < len(table.rows):
        yield Text(f"and {len(table.rows) - shown} more", style="dim")
