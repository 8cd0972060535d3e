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

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from executor_worker.cli.display import console, on_terminal, rich_table
from executor_worker.cli.glance import (
    OTHER_COLUMNS,
    STREAM_COLUMNS,
    WORKER_COLUMNS,
    Glance,
    headline,
    look,
    other_rows,
    stream_rows,
    worker_rows,
)
from executor_worker.cli.quitting import DONE, USAGE, Quit
from executor_worker.settings import Settings

EVERY_S = 1.0
_LEAVE = ("q", "Q", "\x1b", "\x04")


def top(settings: Settings, args: argparse.Namespace) -> int:
    del args
    if not on_terminal() or not sys.stdin.isatty():
        raise Quit(USAGE, "`top` needs a terminal; elsewhere use `status` or `status --json`.")
    with _keys() as pressed, Live(console=console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(look(settings)), refresh=True)
            if pressed(EVERY_S):
                return DONE


class _Keys:
    """Called with seconds: waits so long, and tells whether somebody wants to leave."""

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


def _screen(glance: Glance) -> RenderableType:
    parts: list[RenderableType] = [Text(headline(glance), style="bold")]
    parts += [Text(problem, style="red") for problem in glance.problems]
    for columns, rows in (
        (WORKER_COLUMNS, worker_rows(glance)),
        (STREAM_COLUMNS, stream_rows(glance)),
        (OTHER_COLUMNS, other_rows(glance)),
    ):
        if rows:
            parts += [Text(""), rich_table(columns, rows)]
    parts += [Text(""), Text(f"{time.strftime('%H:%M:%S')}  q leaves", style="dim")]
    return Group(*parts)
