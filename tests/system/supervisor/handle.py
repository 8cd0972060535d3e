"""A handle on a dummy pool: what the tests do to it and see of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit import alive, command_line, descendants, state_of, wait_until
from tests.kit.paths import ROOT
from tests.kit.processes import wait_for_end

DUMMY = Path(__file__).with_name("dummy.py")

Line = dict[str, Any]


class DummyPool:
    """The script `dummy.py` in a process of its own; its settings and deeds are files in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._own_numbers = False

    # Before and at its start.

    def configure(self, **settings: object) -> None:
        new = self.folder / "settings.new"
        new.write_text(json.dumps(settings))
        new.rename(self.folder / "settings.json")

    def start(
        self,
        *,
        prefix: tuple[str, ...] = (),
        ready: bool = True,
        environ: dict[str, str] | None = None,
        **settings: object,
    ) -> DummyPool:
        self.configure(**settings)
        self._own_numbers = "--pid" in prefix
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(environ or {})}
        command = [*prefix, sys.executable, str(DUMMY), str(self.folder)]
        stderr = (self.folder / "stderr").open("ab")
        with stderr:
            self.process = subprocess.Popen(
                command, env=environment, stdout=stderr, stderr=stderr, start_new_session=True
            )
        if ready:
            self.wait_for("pool.ready")
        return self

    # What is done to it.

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def tell(self, slot: int, deed: str, argument: object = None) -> None:
        """Have the worker in *slot* do *deed*, and wait until it has begun."""
        before = len(self.lines("took", slot=slot))
        new = self.folder / f"{slot}.new"
        new.write_text(json.dumps([deed, argument]))
        new.rename(self.folder / f"{slot}.do")
        wait_until(lambda: len(self.lines("took", slot=slot)) > before, 5, f"slot {slot} to begin {deed}")

    def let_go(self) -> None:
        """Let each `hold` come to its end, now and later."""
        (self.folder / "go").touch()

    def freeze(self, slot: int) -> None:
        """Have the worker in *slot* hang with nothing in hand."""
        (self.folder / f"{slot}.freeze").touch()

    def kill(self, pid: int) -> None:
        assert pid > 1
        os.kill(pid, signal.SIGKILL)

    def wait(self, seconds: float = 45) -> int:
        """Wait for the supervisor's end; returns its exit status."""
        assert self.process is not None
        return wait_for_end(self.process, seconds)

    def end(self) -> None:
        """Leave nothing behind, however the test has gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)  # also where it waits for the disk
        wait_until(lambda: not self.left_behind(), 5, "everything to be gone")

    # What is seen of it.

    @property
    def log(self) -> list[Line]:
        path = self.folder / "log"
        whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")  # one may be being written
        return [json.loads(line) for line in whole.splitlines()]

    def lines(self, event: str, **fields: object) -> list[Line]:
        return [line for line in self.log if line["event"] == event and fields.items() <= line.items()]

    def wait_for(self, event: str, count: int = 1, seconds: float = 45, **fields: object) -> Line:
        """Wait until the log holds *event* with *fields* that many times; returns the last."""
        found = wait_until(
            lambda: lines if len(lines := self.lines(event, **fields)) >= count else [],
            seconds,
            f"{count} × {event} {fields}",
        )
        return found[-1]

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def port(self) -> int:
        return int((self.folder / "port").read_text())

    def page(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=30) as answer:
            return dict(json.load(answer))

    def rows(self) -> dict[int, dict[str, Any]]:
        """The scoreboard's rows by slot, as the keeper sees them."""
        return {row["slot"]: row for row in self.page()["rows"]}

    def worker(self, slot: int) -> int:
        """The pid of the worker in *slot*; waits until there is one."""
        return int(wait_until(lambda: self.rows()[slot]["pid"], 10, f"a worker in slot {slot}"))

    def wait_rows(self, condition: Callable[[dict[int, dict[str, Any]]], object], seconds: float = 45) -> None:
        wait_until(lambda: condition(self.rows()), seconds, f"rows; they are {self.rows()}")

    def companion(self) -> int:
        """The pid of what was started beside the pool."""
        return wait_until(lambda: [pid for pid in self.children() if self.command(pid).startswith("sleep")], 10)[0]

    def spawned(self) -> int:
        """The pid of what a `spawn` has left."""
        path = self.folder / "spawned"
        wait_until(path.exists, 5, "the spawned process")
        return int(path.read_text())

    def recoveries(self, slot: int) -> list[float]:
        """Seconds from each death of *slot*'s workers to its next one being up, by the log."""
        times: list[float] = []
        died: float | None = None
        for line in self.log:
            if line.get("slot") == slot and line["event"] in ("slot.dead", "slot.left"):
                died = line["at"]
            elif line.get("slot") == slot and line["event"] == "up" and died is not None:
                times.append(line["at"] - died)
                died = None
        return times

    def children(self) -> list[int]:
        """All processes below the supervisor."""
        return descendants(self.pid)

    def zombies(self) -> list[int]:
        return [pid for pid in self.children() if state_of(pid) == "Z"]

    def command(self, pid: int) -> str:
        return command_line(pid)

    def left_behind(self) -> list[int]:
        """What is alive of all processes that were ever named in the log, where their numbers are ours."""
        if self._own_numbers:
            return []
        named = {line[key] for line in self.log for key in ("by", "pid") if line.get(key)}
        return [pid for pid in named if alive(pid)]
