"""The unit as an operator sees it: systemctl, its settings file, its journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import httpx2

from tests.kit import wait_until
from tests.kit.paths import ROOT
from tests.system.systemd.machine import Machine, inner_pid

UNITS = ROOT / "systemd"
FOLDER = "/etc/systemd/system"
PATIENCE_S = 150.0


class Unit:
    """
    A service of a machine.

    Attributes:
        settings: Where its settings file is, inside.
    """

    def __init__(self, machine: Machine, name: str, settings: str, port: int) -> None:
        self.machine = machine
        self.name = name
        self.settings = settings
        self.port = port
        self._started_as: tuple[str, dict[str, object]] | None = None

    # What is done to it

    def be(self, drop_in: str, settings: dict[str, object]) -> None:
        """Be active and idle, like that: started anew where it is not."""
        self.machine.run("systemctl", "reset-failed")
        if self._started_as == (drop_in, settings) and self._idle(settings["WORKERS"]):
            return
        self.configure(settings)
        self.drop_in(drop_in)
        self.systemctl("restart")
        self._started_as = (drop_in, settings)

    def _idle(self, workers: object) -> bool:
        states = [row["state"] for row in self.rows()] if self.state() == "active" else []
        return states == ["idle"] * int(str(workers))

    def configure(self, settings: Mapping[str, object]) -> None:
        """Write the settings file anew."""
        self._started_as = None
        self.machine.write(self.settings, "".join(f"{name}={value}\n" for name, value in settings.items()))

    def drop_in(self, text: str) -> None:
        """Change the unit; in effect from the next start."""
        self.machine.write(f"{FOLDER}/{self.name}.service.d/tests.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def systemctl(self, verb: str, *more: str, check: bool = True) -> tuple[float, subprocess.CompletedProcess[str]]:
        """Seconds it took, and how it ended."""
        began = time.monotonic()
        done = self.machine.run("systemctl", verb, *more, f"{self.name}.service", check=False, timeout=PATIENCE_S)
        seconds = time.monotonic() - began
        assert not check or done.returncode == 0, f"{verb}: {done.stderr}\n{self.said()}"
        return seconds, done

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`executor-worker ctl`, as root of that machine."""
        socket = f"/run/{self.name}/ctl.sock"
        return self.machine.run("/opt/executor-worker/bin/executor-worker", "ctl", "--socket", socket, *words)

    # What is seen of it

    def show(self, *properties: str) -> dict[str, str]:
        """Properties as systemd has them."""
        _, done = self.systemctl("show", f"--property={','.join(properties)}")
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def state(self) -> str:
        """`active`, `failed` …"""
        return self.show("ActiveState")["ActiveState"]

    def restarts(self) -> int:
        """How often systemd has started it again since it was started by hand."""
        return int(self.show("NRestarts")["NRestarts"])

    def wait_restarted(self, before: int) -> None:
        """Wait until systemd has started it once more, and it is ready."""
        wait_until(lambda: self.restarts() > before, PATIENCE_S, lambda: f"a restart\n{self.said()}", every=0.05)
        self.wait_active()

    def wait_active(self) -> None:
        wait_until(lambda: self.state() == "active", PATIENCE_S, lambda: f"it is active\n{self.said()}", every=0.05)

    def pids(self) -> list[int]:
        """All its processes, by the numbers they have here."""
        return self.machine.pids_of(self.name)

    def main_pid(self) -> int:
        """The supervisor's number here."""
        return self.outer(int(self.show("MainPID")["MainPID"]))

    def outer(self, pid: int) -> int:
        """The number here of what has the number *pid* inside."""
        return next(outer for outer in self.pids() if inner_pid(outer) == pid)

    def worker(self, slot: int) -> int:
        """The number here of a slot's worker; waits until there is one."""
        row = wait_until(lambda: self.row(slot), 20, f"a worker in slot {slot}")
        return self.outer(int(row["pid"]))

    def row(self, slot: int) -> dict[str, Any]:
        """A slot's row, once it has a process."""
        return next((row for row in self.rows() if row["slot"] == slot and row["pid"]), {})

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.get("/workers").json()["workers"]
        return rows

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Its log events of that name so far, since it was installed; `PRIORITY` is the journal's."""
        done = self.machine.run("journalctl", "--unit", self.name, "--output=json", "--no-pager", "--all")
        found = []
        for line in done.stdout.splitlines():
            entry = json.loads(line)
            message = entry.get("MESSAGE")
            if isinstance(message, str) and message.startswith("{"):
                event = {**json.loads(message), "PRIORITY": entry["PRIORITY"]}
                if {"event": name, **fields}.items() <= {
                    k: v for k, v in event.items() if k in (*fields, "event")
                }.items():
                    found.append(event)
        return found

    def wait_event(self, name: str, count: int = 1, **fields: object) -> dict[str, Any]:
        """Wait until its log has that event so many times; return the last."""
        found = wait_until(
            lambda: events if len(events := self.events(name, **fields)) >= count else [],
            PATIENCE_S,
            lambda: f"{name} {fields}\n{self.said()}",
            every=0.05,
        )
        return found[-1]

    def said(self, lines: int = 40) -> str:
        """Its last lines in the journal, for messages."""
        return self.machine.run("journalctl", "--unit", self.name, "-n", str(lines), "--no-pager").stdout


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    assert pid > 1
    os.kill(pid, number)
