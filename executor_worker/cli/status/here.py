"""The pool on this machine that is meant: the one that was named, else the only one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from executor_worker.cli.exits import FAILED, USAGE, Quit
from executor_worker.settings.control import given
from supervisor.scoreboard.discovery import pools_here
from supervisor.scoreboard.scoreboard import Scoreboard


def wanted_pool(named: str | None) -> str:
    """Return the name of the pool that is meant: *named*, else what WORKER_ID is set to; empty if it is neither."""
    return named or given("WORKER_ID", os.environ)


@contextlib.contextmanager
def boards_of(name: str) -> Iterator[dict[int, Scoreboard]]:
    """
    Open the tables of the pools called *name* here, an upgrade's old and new one; of all pools for an empty name.

    Raises:
        Quit: There is none, or it can't be read.
    """
    try:
        with pools_here() as boards:
            found = {pid: board for pid, board in boards.items() if name in ("", board.head.name)}
            if not found:
                others = sorted({board.head.name for board in boards.values()})
                beside = f"; here are: {', '.join(others)}" if others else ""
                called = f" called {name!r}" if name else ""
                raise Quit(FAILED, f"no pool of this user{called} runs here{beside}.")
            yield found
    except ValueError as error:
        raise Quit(FAILED, f"the pool here can't be read: {error}.") from None


def the_only(boards: dict[int, Scoreboard]) -> Scoreboard:
    """
    Return the one pool of *boards*; of several of one name the newest, which takes over.

    Raises:
        Quit: They have several names.
    """
    names = sorted({board.head.name for board in boards.values()})
    if len(names) > 1:
        raise Quit(USAGE, f"several pools run here: {', '.join(names)}. Name one by --pool.")
    return max(boards.values(), key=lambda board: board.head.started_ns)
