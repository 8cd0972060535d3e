"""
The program, already imported: pools are forked from here, each a process of its own.

To import it takes two thirds of a second of a core, and the tests start many hundred pools. From its first line on it
does what it does for anybody: reads its settings, loads its tools, forks, is a process with an environment, a title,
signals and an exit status of its own. Those tests that are about its start start it as a person does.

    python warm_pool.py SOCKET …  serves; each request is one message: arguments, environment, folder; and 0, 1, 2 and
                                  where its number and its exit status are to be written
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import setproctitle

PR_SET_PDEATHSIG = 1
LARGEST = 1 << 18
PATIENCE_S = 120.0
MARK = "EXECUTOR_TEST_MARK"
NO_MARK = "0" * 32
TITLE = "x" * 200  # a process can call itself nothing longer than what it was started with
READY, REFUSED = b"ready", b"refused"
FOLLOWED = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
LOADED = (
    *("executor_worker.cli.main", "executor_worker.cli.run", "executor_worker.settings.settings"),
    "orchestrator.program",
)
CAN_BE_IMPORTED_ONLY_ONCE = "LD_", "COVERAGE_", "MALLOC_", "PYTHON"


class Forked:
    """A pool that was forked: what `subprocess.Popen` is to a program that was executed."""

    def __init__(self, status_fd: int, stderr: IO[bytes] | None) -> None:
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr = stderr
        self.returncode: int | None = None
        self._status_fd = status_fd
        self._lock = threading.Lock()
        pid = self._line(PATIENCE_S)
        assert pid, "the warm program is gone"
        self.pid = int(pid)

    def poll(self) -> int | None:
        """Return its exit status (negative: the signal); None while it lives."""
        with self._lock:
            if self.returncode is None and (line := self._line(0)) is not None:
                self._ended(line)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """
        Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left_s = None if give_up is None else give_up - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired("executor-worker", timeout or 0.0)
            select.select([self._status_fd], [], [], left_s)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, line: bytes) -> None:
        os.close(self._status_fd)
        self.returncode = int(line or -signal.SIGKILL)  # with nobody left to say it: it died with its parent

    def _line(self, seconds: float) -> bytes | None:
        """Read one line; None if none came in time, empty if there is nobody who could write one."""
        if not select.select([self._status_fd], [], [], seconds)[0]:
            return None
        return os.read(self._status_fd, 16)


class WarmProgram:
    """The process that forks; ends with us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), TITLE],
                pass_fds=[theirs.fileno()],
                env={**kept, MARK: NO_MARK, "SPT_NOENV": "1"},
            )
        self._line.settimeout(PATIENCE_S)
        self.usable = self._line.recv(LARGEST) == READY

    def fork(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        stdin: int | IO[bytes],
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
    ) -> Forked:
        """Start the program with the words of *command* after its own name."""
        ours: int | None = None
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123
            theirs, opened = list[int](), list[int]()
            for stream in (stdin, stdout, stderr):
                if stream == subprocess.PIPE:
                    assert ours is None and stream is stderr, "a pool is listened to, no more"
                    ours, end = os.pipe()
                    opened.append(end)
                    theirs.append(end)
                elif stream == subprocess.DEVNULL:
                    theirs.append(nothing.fileno())
                else:
                    theirs.append(stream if isinstance(stream, int) else stream.fileno())
            status, end = os.pipe()
            opened.append(end)
            request = {"command": list(command), "env": dict(env), "cwd": str(cwd or Path.cwd())}
            with self._lock:
                socket.send_fds(self._line, [json.dumps(request).encode()], [*theirs, end])
            for fd in opened:
                os.close(fd)
        return Forked(status, os.fdopen(ours, "rb") if ours is not None else None)

    def close(self) -> None:
        self._line.close()
        self._process.wait(PATIENCE_S)


_warm: list[WarmProgram] = []


def warm_program(env: Mapping[str, str]) -> WarmProgram | None:
    """Start it if that has not been done; None where a pool with *env* has to be executed."""
    if any(name.startswith(CAN_BE_IMPORTED_ONLY_ONCE) and name not in FOLLOWED for name in env):
        return None
    if not _warm:
        _warm.append(WarmProgram())
        atexit.register(_warm[0].close)
    return _warm[0] if _warm[0].usable else None


def serve(line: socket.socket) -> None:
    """Fork one pool after the other, and say of each how it ended, until nobody asks any more."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([line.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, LARGEST)
            _reap(children)
        if line.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(line, LARGEST, 4)
        if not message:
            return
        *streams, status = fds
        request = json.loads(message)
        _import_adapters(request["env"])
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            become(parent, request, streams)
        for fd in streams:
            os.close(fd)
        children[pid] = status
        os.write(status, f"{pid}".encode())


def _reap(children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = children.pop(pid)
        with suppress(BrokenPipeError):
            os.write(fd, f"{os.waitstatus_to_exitcode(status)}".encode())
        os.close(fd)


def become(parent: int, request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be the installed script, in this process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    os.chdir(request["cwd"])
    env = request["env"]
    write_mark(env[MARK])
    locale = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ}  # set by the interpreter itself
    os.environ.clear()
    os.environ.update({**locale, **env})
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    program = request["command"][0]
    sys.argv = list(request["command"])
    sys.orig_argv = [sys.executable, *request["command"]]
    sys.path[0] = str(Path(program).parent)
    sys.path[1:1] = [str(Path(path).resolve()) for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    importlib.invalidate_caches()
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1)
    os._exit(_run() & 0xFF)  # the interpreter's own end would clear away all that was imported, page by page


def _run() -> int:
    from executor_worker.cli.main import main

    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with suppress(AttributeError):
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return status


def _import_adapters(env: Mapping[str, str]) -> None:
    """Import, for this pool and all later ones, the SDK that it asks for: one of them takes a second."""
    from executor_worker.settings.known_providers import KNOWN

    named = KNOWN.get("openai" if env.get("LLM_ENDPOINT") else env.get("LLM_PROVIDER", ""))
    name = f"executor_worker.providers.{named.adapter}" if named else ""
    if name and name not in sys.modules:
        importlib.import_module(name)
        gc.freeze()


def write_mark(mark: str) -> bool:
    """
    Write *mark* over the one this process was started with; returns whether others see it.

    They look for it in `/proc/PID/environ`, which is the memory where the environment was at the start.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    block = Path("/proc/self/environ").read_bytes()
    at = block.find(f"{MARK}=".encode())
    if not start or end - start != len(block) or at < 0 or len(mark) != len(NO_MARK):
        return False
    ctypes.memmove(start + at + len(MARK) + 1, mark.encode(), len(mark))
    return f"{MARK}={mark}".encode() in Path("/proc/self/environ").read_bytes().split(b"\0")


def warm_up() -> None:
    """Import what a pool does at its start; and find where titles are written while that can still be found."""
    for module in LOADED:
        importlib.import_module(module)
    setproctitle.getproctitle()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        usable = write_mark(NO_MARK)
        asked.send(READY if usable else REFUSED)
        if usable:
            warm_up()
            gc.collect()
            gc.freeze()
            serve(asked)
