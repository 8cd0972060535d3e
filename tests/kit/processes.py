"""Start processes that can't outlive the tests, and find what they left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.kit.waiting import Stopwatch, wait_until
from tests.kit.warm_pool import MARK, Forked, warm_program

KEPT = ("PATH", "HOME")
LEASH = Path(__file__).with_name("leash.py")


class Process:
    """
    A program on a leash: killed when the test process dies; it and its descendants carry a mark in their environment.

    Args:
        env: Its whole environment, but for PATH, HOME, what `make coverage` needs, and the mark.
        warm: *command* is `executor-worker`, which may be forked from the program already imported; see `warm_pool`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        warm: bool = False,
    ) -> None:
        self.mark = uuid.uuid4().hex
        kept = {name: os.environ[name] for name in os.environ if name in KEPT or name.startswith("COVERAGE_")}
        whole = {**kept, **(env or {})}
        whole["SPT_NOENV"] = "1"  # else setproctitle writes over the environment in memory, and the mark with it
        words, marked = [str(part) for part in command], {**whole, MARK: self.mark}
        program = warm_program(marked) if warm else None
        self.popen: subprocess.Popen[bytes] | Forked
        if program is not None:
            self.popen = program.fork(words, env=marked, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)
        else:
            leashed = [sys.executable, "-I", "-S", str(LEASH), *words]
            self.popen = subprocess.Popen(leashed, env=marked, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def running(self) -> bool:
        """Say whether it has not ended yet."""
        return self.popen.poll() is None

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for its end; return its exit status (negative: the signal)."""
        return wait_for_end(self.popen, seconds)

    def kill(self) -> None:
        """End it at once, also when it is stopped."""
        if self.running():
            self.popen.kill()
        self.popen.wait(60)  # also where it waits for the disk
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()

    def relatives(self) -> list[int]:
        """All living processes that carry its mark, itself included."""
        return marked(self.mark)

    def assert_nobody_left(self, seconds: float = 3.0) -> None:
        """Wait until nothing that it started lives any more; kills and names what does."""
        try:
            wait_until(lambda: not self.relatives(), seconds, "everything it started is gone")
        except AssertionError as error:
            left = {pid: command_line(pid) for pid in self.relatives()}
            kill_all(list(left))
            raise AssertionError(f"left behind: {left}") from error


def wait_for_end(process: subprocess.Popen[bytes] | Forked, seconds: float) -> int:
    """Wait for a process' end, seconds counted as `wait_until` does; return its exit status."""
    taken, left_s = Stopwatch(), seconds
    while True:
        try:
            return process.wait(max(left_s, 0.0))
        except subprocess.TimeoutExpired:
            if left_s <= 0:
                raise
        left_s = taken.left_s(seconds)


def marked(mark: str) -> list[int]:
    """Living processes (zombies don't count) whose environment carries *mark*."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in every_pid() if wanted in read_proc(pid, "environ").split(b"\0") and alive(pid)]


def every_pid() -> list[int]:
    """All processes there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_proc(pid: int, name: str) -> bytes:
    """Read `/proc/PID/<name>`; empty if it is gone or not ours."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - asked of all processes, often
            return file.read()
    except OSError:
        return b""


def state_of(pid: int) -> str:
    """The one-letter state of a process (R, S, D, T, Z); empty if it is gone."""
    for line in read_proc(pid, "status").splitlines():
        if line.startswith(b"State:"):
            return line.split()[1].decode()
    return ""


def own_name(of: str) -> str:
    """Make a name that no other test run on this machine has: a WORKER_ID names sockets for the whole of it."""
    return f"{of}-{uuid.uuid4().hex[:8]}"


def alive(pid: int) -> bool:
    """Say whether a process is there and no zombie: some sandboxes reap slowly."""
    return state_of(pid) not in ("", "Z", "X")


def command_line(pid: int) -> str:
    """Read what a process calls itself."""
    return read_proc(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def kill_all(pids: Sequence[int]) -> None:
    """End these processes; those that are gone already don't matter."""
    assert all(pid > 1 for pid in pids), f"0 and -1 would be everybody: {pids}"
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def descendants(pid: int) -> list[int]:
    """All processes below *pid*, found by parents (a daemonised one is not among them)."""
    parents: dict[int, list[int]] = {}
    for child in every_pid():
        for line in read_proc(child, "status").splitlines():
            if line.startswith(b"PPid:"):
                parents.setdefault(int(line.split()[1]), []).append(child)
    found: list[int] = []
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found
