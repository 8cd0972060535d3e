"""
Our command line on a machine that is no Linux: what CPython or the kernel has on Linux alone is gone.

Others' libraries are loaded before, as they have code of their own for each system. Command lines come as JSON on
stdin, each is run in a child, and how they ended goes to stdout.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - so are those below
import ctypes
import json
import os
import select
import signal
import socket
import sys
import tempfile
from typing import Any

import anthropic  # noqa: F401
import anyio._backends._asyncio  # noqa: F401
import mcp.client.session  # noqa: F401
import openai  # noqa: F401
import psutil  # noqa: F401

LINUX_ALONE: dict[Any, tuple[str, ...]] = {
    os: ("eventfd", "memfd_create", "pidfd_open", "pipe2", "sched_getaffinity", "waitid", "O_PATH"),
    select: ("epoll",),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR"),
    socket: ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"),
}


class LibraryWithoutPrctl(ctypes.CDLL):
    def __getattr__(self, name: str) -> Any:
        if name == "prctl":
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        return super().__getattr__(name)


def leave_linux() -> None:
    """From here on this process finds nothing that only Linux has."""
    sys.platform = "darwin"
    ctypes.CDLL = LibraryWithoutPrctl  # type: ignore[misc]
    for module, names in LINUX_ALONE.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    readlink = os.readlink

    def read_link(path: Any, **options: Any) -> Any:
        no_proc("open", (path,))
        return readlink(path, **options)

    os.readlink = read_link
    sys.addaudithook(no_proc)


def no_proc(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(("/proc", "/sys/")):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


def run(arguments: list[str]) -> dict[str, Any]:
    """Run one command line in a child; return its status and what it wrote."""
    from executor_worker.cli.main import main as run_command

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            try:
                status = run_command(arguments)
            except SystemExit as leaving:
                status = int(leaving.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"status": status, "out": out.read(), "err": err.read()}


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    leave_linux()
    json.dump([run(arguments) for arguments in commands], sys.stdout)
