"""The command as a person runs it: a process of its own, in a folder of its own, with no settings but those given."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit import PROGRAM, Stopwatch
from tests.system.cli.warm import WarmProgram


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


def environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "LLM_PROVIDER": "scripted", "HEALTH_PORT": "", **settings}


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProgram]:
    with WarmProgram() as program:
        yield program


@pytest.fixture
def run(folder: Path, warm: WarmProgram) -> Run:
    """Run a command to its end: `run("once", "node.json", WORKERS="2")`."""

    def run(*arguments: str, stdin: str = "", timeout: float = 90.0, **settings: str) -> Done:
        with ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
            given.write(stdin)
            given.seek(0)
            fds = given.fileno(), out.fileno(), err.fileno()
            status = warm.run([*arguments], env=environment(settings), cwd=folder, fds=fds, timeout=timeout)
            out.seek(0)
            err.seek(0)
            done = Done(status, out.read(), err.read())
        # Of the user's own code there is to be one, of ours never.
        assert "Traceback" not in done.err or "executor_worker/" not in done.err, done.err
        return done

    return run


class Terminal:
    """A command on a terminal of its own; what it shows is in `shown`."""

    def __init__(self, arguments: list[str], folder: Path, settings: dict[str, str]) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started the tests in the background has it ignored
            os.chdir(folder)
            env = {**environment(settings), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
            os.execve(PROGRAM, [str(PROGRAM), *arguments], env)
        self.shown = ""
        self.status: int | None = None

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        taken = Stopwatch()
        while text not in self.shown:
            assert taken.left_s(seconds) > 0, f"{text!r} was not shown: {self.shown}"
            assert self._read(0.2) or text in self.shown, f"it ended before it showed {text!r}: {self.shown}"

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end; return its exit status."""
        taken = Stopwatch()
        while self._read(0.2):
            assert taken.left_s(seconds) > 0, f"it does not end: {self.shown}"
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def _read(self, seconds: float) -> bool:
        """Read what there is; return whether the command still has its terminal."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            chunk = os.read(self._fd, 65536)
        except OSError:
            return False
        self.shown += chunk.decode("utf-8", "replace")
        return bool(chunk)


@pytest.fixture
def terminal(folder: Path) -> Any:
    """Start a command on a terminal: `terminal("status", REDIS_ADDR=…)`."""
    started: list[Terminal] = []

    def start(*arguments: str, **settings: str) -> Terminal:
        started.append(Terminal(list(arguments), folder, settings))
        return started[-1]

    yield start
    for one in started:
        one.close()
