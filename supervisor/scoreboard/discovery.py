"""Find the pools that run here: by the table each of them keeps in memory, whatever ports or names they go by."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from supervisor.scoreboard.scoreboard import FILE_NAME, Scoreboard

_LINK = f"/memfd:{FILE_NAME} (deleted)"


@contextlib.contextmanager
def pools_here() -> Iterator[dict[int, Scoreboard]]:
    """
    The pools of this user in this PID namespace, by their supervisors' pids; to be read only.

    One of another version is passed over where there are others: it is being replaced.

    Raises:
        ValueError: There are only such of another version.
    """
    boards: dict[int, Scoreboard] = {}
    strange: ValueError | None = None
    try:
        for pid, path in _tables():
            try:
                board = _open(path)
            except ValueError as error:
                strange = error
                continue
            if board is None:
                continue
            # A pool has a name before it has a supervisor; its children show the same table.
            if board.head.supervisor_pid == pid and board.head.name and pid not in boards:
                boards[pid] = board
            else:
                board.close()
        if strange is not None and not boards:
            raise strange
        yield boards
    finally:
        for board in boards.values():
            board.close()


def _tables() -> Iterator[tuple[int, Path]]:
    """Find which process has which table open; those of other users can't be looked at."""
    try:
        own_space = Path("/proc/self/ns/pid").readlink()
    except FileNotFoundError:  # no Linux: no pool runs here
        return
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid != os.geteuid() or (process / "ns/pid").readlink() != own_space:
                continue  # another user's, or a container's, which has pids of its own
            # A successor has its predecessors' tables open as well.
            for fd in filter(_leads_to_table, (process / "fd").iterdir()):
                yield int(process.name), fd


def _leads_to_table(fd: Path) -> bool:
    try:
        return str(fd.readlink()) == _LINK
    except OSError:
        return False


def _open(path: Path) -> Scoreboard | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it ended meanwhile
        return None
    try:
        return Scoreboard.shown(fd)
    finally:
        os.close(fd)
