"""
Our command line on a machine that is no Linux: what CPython or the kernel has not got there is gone.

`darwin` lacks what Linux alone has, `win32` besides that what POSIX has. Others' libraries are loaded before, as they
have code of their own for each system. Command lines come as JSON on stdin, each is run in a child, and how they ended
goes to stdout.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - so are those below
import ctypes
import functools
import getpass  # noqa: F401
import importlib.abc
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request  # noqa: F401
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import anthropic  # noqa: F401
import anyio._backends._asyncio  # noqa: F401
import mcp.client.session  # noqa: F401
import openai  # noqa: F401
import psutil  # noqa: F401
import redis.asyncio  # noqa: F401

LINUX_ALONE: dict[Any, tuple[str, ...]] = {
    os: ("eventfd", "memfd_create", "pidfd_open", "pipe2", "sched_getaffinity", "waitid", "O_PATH"),
    select: ("epoll",),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR"),
    socket: ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"),
}

POSIX_MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
POSIX_NAMES: dict[Any, tuple[str, ...]] = {
    os: (
        *("fork", "forkpty", "register_at_fork", "mkfifo", "getuid", "geteuid", "getgid", "getegid", "getgroups"),
        *("getpgid", "getpgrp", "getsid", "setsid", "setpgid", "killpg", "nice", "getpriority", "setpriority", "uname"),
        *("sysconf", "wait", "wait3", "wait4", "WNOHANG", "WIFEXITED", "WEXITSTATUS", "statvfs", "chown", "fchown"),
        *("lchown", "fchmod", "pread", "preadv", "pwrite", "pwritev", "readv", "writev", "sendfile", "set_blocking"),
        *("get_blocking", "posix_spawn", "openpty", "ttyname", "getloadavg", "O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY"),
        *("O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "SEEK_DATA", "EX_CONFIG", "EX_OK", "posix_fadvise", "posix_fallocate"),
    ),
    select: ("poll",),
    signal: (
        *("SIGALRM", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGHUP", "SIGIO", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF"),
        *("SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM"),
        *("SIGWINCH", "SIGBUS", "SIGSYS", "SIGTRAP", "SIGXCPU", "SIGXFSZ", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"),
        *("alarm", "getitimer", "setitimer", "ITIMER_REAL", "pause", "pthread_kill", "pthread_sigmask", "siginterrupt"),
        *("sigpending", "sigwait"),
    ),
    socket: ("AF_UNIX", "SCM_RIGHTS", "CMSG_SPACE", "send_fds", "recv_fds", "SO_REUSEPORT", "MSG_DONTWAIT"),
}
fork = os.fork  # of this program alone


class NoPosixModules(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in POSIX_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


class LibraryWithoutPrctl(ctypes.CDLL):
    def __getattr__(self, name: str) -> Any:
        if name == "prctl":
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        return super().__getattr__(name)


def leave_linux(system: str) -> None:
    """From here on this process finds nothing that *system* has not got."""
    sys.platform = system
    ctypes.CDLL = LibraryWithoutPrctl  # type: ignore[misc]
    remove(LINUX_ALONE)
    if system == "win32":
        leave_posix()
    readlink = os.readlink

    def read_link(path: Any, **options: Any) -> Any:
        no_proc("open", (path,))
        return readlink(path, **options)

    os.readlink = read_link
    sys.addaudithook(no_proc)


def leave_posix() -> None:
    socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # there over TCP
    remove(POSIX_NAMES)
    vars(subprocess)["_USE_POSIX_SPAWN"] = False  # a program is still started as POSIX does it
    ssl.enum_certificates = lambda _: []  # type: ignore[attr-defined]  # its own store: Windows has it, and we do not
    for name in POSIX_MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, NoPosixModules())


def remove(names: dict[Any, tuple[str, ...]]) -> None:
    for module, lacking in names.items():
        for name in lacking:
            if hasattr(module, name):
                delattr(module, name)


def no_proc(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(("/proc", "/sys/")):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


def run(arguments: list[str]) -> dict[str, Any]:
    """Run one command line in a child; return its status and what it wrote."""
    from executor_worker.cli.main import main as run_command

    with tempfile.TemporaryFile("w+") as out:
        read_end, write_end = os.pipe()
        child = fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(write_end, 2)
            try:
                status = run_command(arguments)
            except SystemExit as leaving:
                status = int(leaving.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        os.close(write_end)
        with os.fdopen(read_end) as err:
            said = err.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        return {"status": status, "out": out.read(), "err": said}


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    leave_linux(sys.argv[1])
    json.dump([run(arguments) for arguments in commands], sys.stdout)
