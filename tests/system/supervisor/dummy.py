"""
A pool whose workers do what a file tells them: run by the tests as a process of its own.

    python dummy.py DIR

DIR/settings.json   the pool's settings, read again at SIGHUP; "boot": what a worker does while it starts
DIR/log             one JSON object a line
DIR/port            where the keeper serves the scoreboard
DIR/ctl             the socket for commands
DIR/go              a test lets `hold` come to its end
DIR/SLOT.do         put there by a test, taken by the slot's worker: one of `DEEDS` with its argument
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from supervisor.control.control_socket import listen
from supervisor.control.systemd import Notify
from supervisor.errors import ReloadRefused
from supervisor.event_log import EventLog
from supervisor.keeper.loop import Duty, Keeper
from supervisor.processes.stacks import Frame
from supervisor.program import PoolSettings
from supervisor.scoreboard.scoreboard import Row, Scoreboard
from supervisor.supervisor import Supervisor
from supervisor.upgrade import Inheritance

PLACE = Path(sys.argv[1])
LOG = os.open(os.environ.get("DUMMY_LOG", PLACE / "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
POLL_MS = 20
SERVICE_NS = 1_000_000_000  # between two signs of life of a service


def log(level: str, event: str, fields: dict[str, object]) -> None:
    line = {"at": time.monotonic(), "by": os.getpid(), "level": level, "event": event, **fields}
    os.write(LOG, json.dumps(line).encode() + b"\n")


say = EventLog(log)


def read_settings() -> dict[str, object]:
    return dict(json.loads((PLACE / "settings.json").read_text()))


class Asked(BaseException):
    """The worker was asked to give back what it holds."""


class Dummy:
    def __init__(
        self, board: Scoreboard, listener: socket.socket | None, settings: dict[str, object], services: Scoreboard
    ) -> None:
        self.board = board
        self.services = services
        self.listener = listener
        self.boot = str(settings.pop("boot", "well"))
        self.keeper_boot = str(settings.pop("keeper_boot", "well"))
        self.service_boot = str(settings.pop("service_boot", "well"))
        self.poll_ms = int(str(settings.pop("poll_ms", POLL_MS)))
        self.colour = str(settings.pop("colour", "none"))
        self.pool = PoolSettings(**{"name": "dummy", "workers": 2, **settings})  # type: ignore[arg-type]

    # In the supervisor.

    def reload(self) -> Dummy:
        settings = read_settings()
        if settings.get("refuse"):
            raise ReloadRefused(str(settings["refuse"]))
        return Dummy(self.board, self.listener, settings, self.services)

    def source_line_in(self, frames: Sequence[Frame]) -> str:
        return next((str(frame) for frame in frames if frame.file == __file__), "")

    def reopen_logs(self) -> None:
        say("info", "logs.reopened", who="supervisor")

    # In the keeper.

    def keep(self) -> int:
        signal.signal(signal.SIGHUP, lambda *_: say("info", "logs.reopened", who="keeper"))
        start(self.keeper_boot, self.board)
        duty = Duty("release", 0.1, self.release, close=self.say_goodbye, on_event_fd=True)
        failing = Duty("failing", 0.5, self.fail)
        return Keeper(self.board, [duty, failing], self.listener, self.page, log).run()

    def fail(self) -> None:
        raise ValueError("as told")

    def release(self) -> None:
        if (PLACE / "keeper.hang").exists():
            (PLACE / "keeper.hang").unlink()
            time.sleep(1000)
        for row in self.board.rows():
            if row.activity == "dead" and row.held and row.respawn_at_ns == 0:
                row.released = row.held
                say("info", "item.released", slot=row.slot, held=row.held)

    def say_goodbye(self) -> None:
        self.release()
        say("info", "keeper.closed")

    def page(self, path: str, headers: Mapping[str, str], local: bool) -> tuple[int, str, bytes]:
        if path == "/boom":
            raise RuntimeError("boom")
        head = self.board.head
        names = (
            "slot",
            "pid",
            "state",
            "phase",
            "item",
            "held",
            "failure_code",
            "restarts",
            "items_done",
            "generation",
        )
        rows = [{name: getattr(row, name) for name in names} for row in self.board.rows()]
        counters = {key.decode(): value for key, value in head.counters.items().items()}
        counted = sum(area.items().get(b"counted", 0.0) for area in self.board.all_counters())
        page = {"mode": head.mode, "paused": head.paused, "configured": head.configured, "rows": rows}
        page |= {"keeper": os.getpid(), "supervisor": head.supervisor_pid, "counters": counters, "counted": counted}
        return 200, "application/json", json.dumps(page).encode()

    # In a worker.

    def work(self, row: Row) -> int:
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGQUIT, hurried)
        signal.signal(signal.SIGHUP, lambda *_: say("info", "logs.reopened", who=row.slot))
        start(self.boot, self.board)
        say("info", "up", slot=row.slot, found=row.held, failure_code=row.failure_code, colour=self.colour)
        row.clear_kill()
        row.end(done=False)
        self.board.event_fd.ring()
        poll = select.poll()
        poll.register(row.wake_fd, select.POLLIN)
        try:
            while not row.leaving:
                row.turned_ns = time.monotonic_ns()
                if (PLACE / f"{row.slot}.freeze").exists():
                    (PLACE / f"{row.slot}.freeze").unlink()
                    time.sleep(1000)
                self.take(row)
                poll.poll(self.poll_ms)
                if row.clear_wake():
                    say("debug", "woken", slot=row.slot)
        except Asked:
            say("info", "gave.back", slot=row.slot, held=row.held)
            row.end(done=False)
        return 0

    # In a service.

    def serve(self, row: Row) -> int:
        leaving: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
        start(self.service_boot, self.services)
        say("info", "serving", service=row.slot, pid=os.getpid(), colour=self.colour)
        row.enter("serving", time.monotonic_ns() + SERVICE_NS, "deadline")
        row.state = "idle"
        self.board.event_fd.ring()
        while not leaving:
            if (PLACE / "service.hang").exists():
                (PLACE / "service.hang").unlink()
                time.sleep(1000)
            row.enter("serving", time.monotonic_ns() + SERVICE_NS, "deadline")
            time.sleep(self.poll_ms / 1000)
        return 0

    def take(self, row: Row) -> None:
        task = PLACE / f"{row.slot}.do"
        with contextlib.suppress(FileNotFoundError):
            deed, argument = json.loads(task.read_text())
            task.unlink()
            row.begin(f"{deed} held", f"{deed} item", deed)
            say("info", "took", slot=row.slot, deed=deed)
            DEEDS[deed](row, argument)
            row.end()
            say("info", "done", slot=row.slot, deed=deed)


def hurried(number: int, frame: object) -> None:
    raise Asked


def start(how: str, board: Scoreboard) -> None:
    match how.split(":"):
        case ["well"]:
            pass
        case ["hang"]:
            time.sleep(1000)
        case ["raise"]:
            raise ImportError("no module named nowhere")
        case ["until", name]:
            while not (PLACE / name).exists():
                time.sleep(POLL_MS / 1000)
        case ["slow", seconds]:
            time.sleep(float(seconds))
        case ["exit", status]:
            board.head.reason = "MODEL: it is wrong"
            os._exit(int(status))


def sleep(row: Row, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.01)


def hold(row: Row, nothing: object) -> None:
    while not (PLACE / "go").exists():
        time.sleep(0.01)


def hang(row: Row, seconds: float) -> None:
    row.enter("hanging", time.monotonic_ns() + int(seconds * 1e9), "took_too_long")
    time.sleep(1000)


def spin_in_c(row: Row, seconds: float) -> None:
    row.enter("spinning", time.monotonic_ns() + int(seconds * 1e9), "took_too_long")
    re.match(r"(a+)+$", "a" * 60 + "b")  # takes years, and keeps the interpreter's lock


def be_deaf(row: Row, nothing: object) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGQUIT, signal.SIGTERM})
    say("info", "deaf", slot=row.slot)
    time.sleep(1000)


def spawn(row: Row, how: str) -> None:
    """Leave a process behind, its number in DIR/spawned; then go on being busy."""
    told = PLACE / "spawned"
    command = ["/bin/sh", "-c", f"echo $$ > {told}.new; mv {told}.new {told}; exec sleep 1000"]
    if how == "plain":
        subprocess.Popen(command)
    elif how == "daemon":
        subprocess.run(["setsid", "--fork", *command], check=True)
    elif how == "bare":  # neither our environment nor our memory, and a session of its own
        subprocess.run(["env", "-i", "setsid", "--fork", *command], check=True)
    elif how == "forked" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (PLACE / "spawned.new").write_text(str(os.getpid()))
            (PLACE / "spawned.new").rename(PLACE / "spawned")
            time.sleep(1000)
        os._exit(0)
    time.sleep(1000)


def many(row: Row, count: int) -> None:
    for _ in range(count):
        subprocess.run(["setsid", "--fork", "true"], check=True)


def wear_out(row: Row, nothing: object) -> None:
    row.wants_replacement = True


def count(row: Row, amount: float) -> None:
    row.counters.add(b"counted", amount)


def grow_fat(row: Row, megabytes: int) -> None:
    row.rss_bytes = megabytes << 20


DEEDS: dict[str, Callable[[Row, Any], object]] = {
    "sleep": sleep,
    "hold": hold,
    "hang": hang,
    "spin": spin_in_c,
    "deaf": be_deaf,
    "spawn": spawn,
    "many": many,
    "exit": lambda row, status: os._exit(status),
    "raise": lambda row, text: [][1],
    "kill": lambda row, number: os.kill(os.getpid(), number),
    "wear": wear_out,
    "fat": grow_fat,
    "count": count,
}


def let_forks_fail(times: int) -> None:
    """Have the first forks fail as they do when there is no room for one more process."""
    really_fork, left = os.fork, [times]

    def fork() -> int:
        if left[0]:
            left[0] -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return really_fork()

    os.fork = fork


def main() -> int:
    let_forks_fail(int(os.environ.pop("DUMMY_FORK_FAILS", "0")))
    inherited = Inheritance.from_environ(os.environ)
    if inherited is not None and inherited.listen_fd is not None:
        listener = socket.socket(fileno=inherited.listen_fd)
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        (PLACE / "port.new").write_text(str(listener.getsockname()[1]))
        (PLACE / "port.new").rename(PLACE / "port")
    board = Scoreboard(first_slot=inherited.first_slot if inherited else 1)
    services = Scoreboard(4, hidden=True)
    program = Dummy(board, listener, read_settings(), services)
    if inherited is not None and (PLACE / "successor.fails").exists():
        return 3
    companions: dict[int, str] = {}
    if (PLACE / "companion").exists():
        companions[subprocess.Popen(["sleep", "1000"]).pid] = "sleeper"
    notify = Notify.from_environ(os.environ)
    if inherited is not None and inherited.control_fd is not None:
        control = socket.socket(fileno=inherited.control_fd)
    else:
        control = listen(str(PLACE / "ctl"))
    supervisor = Supervisor(
        program,
        board,
        log,
        notify,
        companions=companions,
        listener=listener,
        control=control,
        inheritance=inherited,
        services=services,
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
