"""
Parent death: once the supervisor has died, kill everything that was started under it, and oneself last.

Workers die with it by themselves. What they had started does not: it has been orphaned to another process, perhaps in a
session of its own. So the keeper, which outlives the supervisor for a moment, knows it from before, or by its marks.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time

from supervisor.processes import process_tree
from supervisor.processes.after_fork import live_without_supervisor
from supervisor.scoreboard.scoreboard import Scoreboard

LOOK_S = 1.0  # between two looks at what busy workers have started
IDLE_LOOK_S = 5.0  # when none is busy
GIVE_UP_S = 3.0  # on what can't be killed


class ParentDeath:
    """
    Args:
        mark: The environment entry, `NAME=value`, that marks what was executed under this supervisor.
    """

    def __init__(self, board: Scoreboard, mark: bytes) -> None:
        self._board = board
        self._mark = mark
        self._supervisor = board.head.supervisor_pid
        self._mapping = process_tree.mapping_at(ctypes.addressof(ctypes.c_char.from_buffer(board.shared)))
        self._known: list[process_tree.Process] = []
        self._looked_at = 0.0

    def start(self) -> None:
        """
        Watch in a thread, so that it happens also while the keeper is held up.

        Raises:
            ProcessLookupError: The supervisor is dead already.
        """
        # Until here we die with the supervisor, so its number can't have gone to another.
        supervisor = os.pidfd_open(self._supervisor)
        threading.Thread(target=self._watch, args=(supervisor,), name="parent-death", daemon=True).start()
        live_without_supervisor()
        if os.getppid() != self._supervisor:
            raise ProcessLookupError(f"the supervisor {self._supervisor} is gone")

    def _watch(self, supervisor: int) -> None:
        poll = select.poll()
        poll.register(supervisor, select.POLLIN)
        while not poll.poll(LOOK_S * 1000):
            self._look()
        self._clear_away()
        os._exit(1)

    def _look(self) -> None:
        now = time.monotonic()
        rows = self._board.rows()
        pause = LOOK_S if any(row.activity == "busy" for row in rows) else IDLE_LOOK_S
        if now >= self._looked_at + pause:
            self._looked_at = now
            self._known = process_tree.descendants([row.pid for row in rows if row.pid], process_tree.everyone())

    def _clear_away(self) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        clean = 0
        # Twice nothing: what was being forked during one look is seen in the next.
        while clean < 2 and time.monotonic() < deadline:
            clean = 0 if self._kill_all() else clean + 1

    def _kill_all(self) -> int:
        alive = process_tree.everyone()
        marked = {alive[pid] for pid in process_tree.bearing(self._mark, self._mapping) if pid in alive}
        known = {process for process in self._known if process.pid in alive}
        below = process_tree.descendants([process.pid for process in marked | known if _same(process, alive)], alive)
        victims = {process for process in {*marked, *known, *below} if process.pid != os.getpid()}
        self._known = list(victims)
        return sum(process_tree.kill(victim) for victim in victims)


def _same(process: process_tree.Process, alive: dict[int, process_tree.Process]) -> bool:
    return alive[process.pid].started == process.started
