"""A private Redis for trying things out: its own data, no port, gone when its owner is."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from executor_worker.broker.connection.server_program import find_server
from executor_worker.errors import ConfigError

PREFIX = "executor-redis-"
READY_S = 60.0  # of a program that comes from a slow disk for the first time; one that has ended is told at once
FRESH_S = 60.0
STOP_S = 5.0
_PR_SET_PDEATHSIG = 1
# The kernel's limit for a unix socket's path, with its closing NUL.
_SOCKET_PATH_BYTES = 108


class Embedded:
    """
    A running server of our own; a context manager.

    Start it in the main thread: the kernel ends it when the *thread* that forked it ends.

    Args:
        appendonly: Write every change to disk, so that it survives a kill of the server.

    Attributes:
        address: As REDIS_ADDR takes it, `unix:///…`.
        pid: Its process: a child of ours, in a session of its own.

    Raises:
        ConfigError: There is no server to start, or it did not come up.
    """

    def __init__(self, *, appendonly: bool = False) -> None:
        assert threading.current_thread() is threading.main_thread(), "PDEATHSIG follows the forking thread"
        program = find_server()
        self.folder = _short_folder()
        self._claim = _claim(self.folder)
        _remove_leftovers(self.folder.parent)
        self._socket = self.folder / "redis.sock"
        self.address = f"unix://{self._socket}"
        self._process = subprocess.Popen(
            [program, *self._options(appendonly)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            # A session of its own: Ctrl-C is for us, and we still need it while we drain.
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        self.pid = self._process.pid
        try:
            self._await_ready(program)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its data. The supervisor, which reaps all children, may have ended it before."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._claim.close()

    def _options(self, appendonly: bool) -> list[str]:
        options = {
            "--port": "0",
            "--unixsocket": str(self._socket),
            "--unixsocketperm": "700",
            "--dir": str(self.folder),
            "--logfile": str(self.folder / "redis.log"),
            "--save": "",
            "--appendonly": "yes" if appendonly else "no",
            "--maxmemory-policy": "noeviction",
            "--daemonize": "no",
        }
        return [part for pair in options.items() for part in pair]

    def _await_ready(self, program: str) -> None:
        give_up = time.monotonic() + READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise ConfigError(
                    "REDIS_ADDR",
                    f"the embedded server {program} did not come up: {self._last_words()}",
                    "Name a running Redis instead, for instance REDIS_ADDR=localhost:6379.",
                )
            time.sleep(0.005)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(self._socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return False

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            words = (self.folder / "redis.log").read_text("utf-8", "replace").strip().splitlines()
            if words:
                return words[-1]
        status = self._process.poll()
        return "it did not answer." if status is None else f"it ended with status {status}."


def _claim(folder: Path) -> IO[bytes]:
    """Lock *folder* as long as we live: a killed process leaves its own unlocked."""
    lock = (folder / "owner").open("ab")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _remove_leftovers(parent: Path) -> None:
    """Remove what servers whose owners were killed have left."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "owner").open("rb") as lock:
            if time.time() - folder.stat().st_mtime < FRESH_S:
                continue  # its owner may be about to lock it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    if len(os.fsencode(folder / "redis.sock")) < _SOCKET_PATH_BYTES:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """
    Make a `preexec_fn` that has the kernel send *number* to the child when the thread that starts it ends.

    What it needs is looked up here, before the fork: nothing is imported in the child.
    """
    owner = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != owner:  # it died in between
            os._exit(1)

    return tie
