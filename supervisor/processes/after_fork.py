"""First steps of a process after the fork: it was a supervisor a moment ago and must not go on as one."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import NoReturn

from setproctitle import setproctitle

from supervisor.event_log import EventLog
from supervisor.libc import failed, libc
from supervisor.signals import REQUESTS

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# From the terminal, for the whole foreground group: the supervisor decides. Tools inherit that across exec.
IGNORED = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
# Sent to a whole cgroup at times; a handler, because unlike "ignore" it is not inherited by what tools execute.
HARMLESS = (signal.SIGHUP, signal.SIGALRM, signal.SIGUSR2)
DUMP_STACKS = signal.SIGUSR1
SHELL_NOT_EXECUTABLE = 126


def live(
    parent: int,
    title: str,
    main: Callable[[], int],
    set_handlers: Callable[[], None],
    let_go: Callable[[], None],
    log: EventLog,
) -> NoReturn:
    """
    Be a child of *parent* that runs *main*, exits with what it returns, and dies with its parent.

    Called with all signals blocked. Never returns, so nothing of the parent's is unwound or run at exit.

    Args:
        set_handlers: Called before the first signal can come in.
        let_go: Closes what is the parent's.
    """
    status = 1
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask to die with it
            os._exit(1)
        become_reaper()
        let_go()
        _reset_signals()
        set_handlers()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        setproctitle(title)
        status = main()
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends here
        log("error", "child.failed", title=title, **describe(error))
    finally:
        flush()
        os._exit(status & 0xFF)


def execute(command: list[str], environ: Mapping[str, str], fds: list[int]) -> NoReturn:
    """Become *command*, with *fds* open. Called with all signals blocked; never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in REQUESTS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for fd in fds:
            os.set_inheritable(fd, True)
        os.execvpe(command[0], command, environ)
    finally:
        os._exit(SHELL_NOT_EXECUTABLE)


def leave_behind(link: socket.socket, command: list[str], environ: Mapping[str, str], fds: list[int]) -> NoReturn:
    """Start *command*, tell its number over *link*, be gone when that is closed. Called with all signals blocked."""
    try:
        pid = os.fork()
        if pid == 0:
            execute(command, environ, fds)
        link.send(str(pid).encode())
        link.recv(1)
    finally:
        os._exit(0)


def become_reaper(wanted: bool = True) -> None:
    """Inherit what descendants of ours leave behind, or no longer."""
    prctl(PR_SET_CHILD_SUBREAPER, int(wanted))


def live_without_supervisor() -> None:
    """Not to be killed when our parent dies; for one who notices by itself."""
    prctl(PR_SET_PDEATHSIG, 0)


def describe(error: BaseException) -> dict[str, object]:
    """Describe *error* for the log without its message, which may quote what was worked on."""
    stack = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "frames": [f"{at.filename}:{at.lineno} {at.name}" for at in stack]}


def flush() -> None:
    """Write out what is buffered, as far as that is possible."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def prctl(option: int, value: int) -> None:
    if libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise failed(f"prctl {option}")


def _reset_signals() -> None:
    for number in REQUESTS:
        signal.signal(number, signal.SIG_DFL)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in HARMLESS:
        signal.signal(number, _harmless)
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # there may be no stderr
        faulthandler.register(DUMP_STACKS, all_threads=True)


def _harmless(number: int, frame: FrameType | None) -> None:
    """Do nothing, until the program sets a handler of its own."""
