"""Places where there is always a supervisor, whatever happens to it, and a clock for what is to happen later."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.kit import Pool, Proxy, command_line
from tests.kit.processes import read_proc


class Supervisor:
    """One place for a supervisor: whoever is killed there is started again, under its name or a new one."""

    def __init__(self, name: str, addr: str, line: Proxy | None, folder: Path, settings: dict[str, str]) -> None:
        self.name, self.line = name, line
        self._folder, self._starts = folder, 0
        self._settings = {**settings, "REDIS_ADDR": addr}
        self.down = False
        self.pool = self.start(anew=True)

    def start(self, *, anew: bool) -> Pool:
        self._starts += 1
        folder = self._folder / f"{self.name}-{self._starts}"
        folder.mkdir()
        if anew:
            self._settings["WORKER_ID"] = folder.name
        self.pool, self.down = Pool(folder, ("run",), self._settings), False
        return self.pool

    def itself(self) -> psutil.Process:
        return psutil.Process(self.pool.process.pid)

    def keepers(self) -> list[psutil.Process]:
        return [child for child in self._children() if ": keeper" in command_line(child.pid)]

    def workers(self) -> list[psutil.Process]:
        """Include one that was forked just now and has not said yet what it is."""
        return [child for child in self._children() if ": keeper" not in command_line(child.pid)]

    def _children(self) -> list[psutil.Process]:
        pid = self.pool.process.pid
        found = []
        for number in read_proc(pid, f"task/{pid}/children").split():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(number)))
        return found


class Clock:
    """Does things later, in one thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), action))

    def work_off(self) -> bool:
        """Do what is due; False if nothing is left to be done."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        return bool(self._due)
