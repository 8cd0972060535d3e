"""Fork, signal, reap: with `descent`, the only place that knows process numbers."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from setproctitle import setproctitle

from supervisor import descent
from supervisor.program import Journal
from supervisor.signals import REQUESTS

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# From the terminal, for the whole foreground group: the supervisor decides. Tools inherit that across exec.
IGNORED = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
# Sent to a whole cgroup at times; a handler, because unlike "ignore" it is not inherited by what tools execute.
HARMLESS = (signal.SIGHUP, signal.SIGALRM, signal.SIGUSR2)
DUMP_STACKS = signal.SIGUSR1
REOPEN_LOGS = signal.SIGHUP
SHELL_NOT_EXECUTABLE = 126


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended."""

    code: int  # exit status, or minus the signal

    @property
    def cause(self) -> str:
        return f"exit:{self.code}" if self.code >= 0 else f"signal:{_signal_name(-self.code)}"


@dataclass(frozen=True, slots=True)
class Child:
    """A child that was started here and is not reaped yet: until then its number is its own."""

    pid: int
    fd: int  # a pidfd: readable once it is dead

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def look(self) -> str:
        """Its state as the kernel sees it, one letter: R, S, D (waits for a device), T (stopped) …"""
        process = descent.read(self.pid)
        return process.state if process else "X"


@dataclass(slots=True)
class Processes:
    """
    All children of this process: those started here and those that were orphaned to it.

    Args:
        log: Where a child says why it failed.
        companions: Children that others have started for us, names by pid.
    """

    log: Journal
    companions: dict[int, str] = field(default_factory=dict)
    close_in_child: list[Callable[[], None]] = field(default_factory=list)
    _children: dict[int, Child] = field(default_factory=dict)

    def become_reaper(self) -> None:
        """Inherit what descendants of ours leave behind."""
        _prctl(PR_SET_CHILD_SUBREAPER, 1)

    def freeze_heap(self) -> None:
        """Keep what is loaded now out of garbage collection, so that children go on sharing it."""
        gc.collect()
        gc.freeze()

    def fork(self, title: str, main: Callable[[], int]) -> Child:
        """
        Start a child that runs *main* and exits with what it returns.

        Raises:
            OSError: There is no room for it.
        """
        self._flush()
        # Blocked across the fork: none may meet the child with the parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._live(parent, title, main)
            return self._keep(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def execute(self, command: list[str], environ: Mapping[str, str], fds: list[int]) -> Child:
        """
        Start *command* beside us, with *fds* open: it outlives us.

        Raises:
            OSError: There is no room for it.
        """
        self._flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _execute(command, environ, fds)
            return self._keep(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def reap(self) -> list[tuple[Child, Exit]]:
        """Take note of every child that has died; those that were orphaned to us are reaped and not told of."""
        gone: list[tuple[Child, Exit]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return gone
            if pid == 0:
                return gone
            code = os.waitstatus_to_exitcode(status)
            child = self._children.pop(pid, None)
            if child is not None:
                gone.append((child, Exit(code)))
            elif pid in self.companions:
                self.log("error", "companion.died", name=self.companions.pop(pid), cause=Exit(code).cause)

    def stops(self) -> list[tuple[Child, bool]]:
        """Children that were stopped (True) or went on (False) since the last call."""
        news: list[tuple[Child, bool]] = []
        while True:
            try:
                seen = os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
            except ChildProcessError:
                return news
            if seen is None:
                return news
            child = self._children.get(seen.si_pid)
            if child is not None:
                news.append((child, seen.si_code == os.CLD_STOPPED))

    def kill_strays(self) -> int:
        """
        Kill children that were orphaned to us: what a dead child has left.

        Returns:
            How many there were; killing those may orphan others to us, so repeat until there are none.
        """
        known = {*self._children, *self.companions}
        strays = [pid for pid in descent.children_of(os.getpid()) if pid not in known]
        living = 0
        for pid in strays:
            process = descent.read(pid)
            living += process is not None and descent.kill(process)
        return living

    def signal_companions(self, number: signal.Signals) -> None:
        for pid in self.companions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _keep(self, pid: int) -> Child:
        try:
            child = Child(pid, os.pidfd_open(pid))
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children[pid] = child
        return child

    def _flush(self) -> None:
        # Text still buffered would be written by both.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()

    def _live(self, parent: int, title: str, main: Callable[[], int]) -> NoReturn:
        status = 1
        try:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before we could ask to die with it
                os._exit(1)
            _prctl(PR_SET_CHILD_SUBREAPER, 1)
            self._let_go()
            _reset_signals()
            setproctitle(title)
            status = main()
        except SystemExit as asked:
            status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent's stack must not be unwound here
            self.log("error", "child.failed", title=title, **describe(error))
        finally:
            self._flush()
            os._exit(status & 0xFF)

    def _let_go(self) -> None:
        for close in self.close_in_child:
            close()
        for child in self._children.values():
            os.close(child.fd)
        self._children.clear()


def describe(error: BaseException) -> dict[str, object]:
    """What the log may hold of *error*: its own words stay out, they may quote what was worked on."""
    stack = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "frames": [f"{at.filename}:{at.lineno} {at.name}" for at in stack]}


def live_without_supervisor() -> None:
    """Not to be killed when our parent dies; for one who notices by itself."""
    _prctl(PR_SET_PDEATHSIG, 0)


def reap_adopted(seen: dict[int, int]) -> None:
    """
    Reap what was orphaned to this process and has died: call between items.

    A child that is still a zombie at the second call was nobody's: who has started a child waits for it.

    Args:
        seen: Kept by the caller from call to call: start of each zombie by pid.
    """
    children = (descent.read(pid) for pid in descent.children_of(os.getpid()))
    zombies = {process.pid: process.started for process in children if process and process.state == "Z"}
    for pid, started in zombies.items():
        if seen.get(pid) == started:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    seen.clear()
    seen.update(zombies)


def threads() -> int:
    """Native threads of this process, those that Python does not know of included."""
    return len(os.listdir("/proc/self/task"))


def _reset_signals() -> None:
    for number in REQUESTS:
        signal.signal(number, signal.SIG_DFL)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in HARMLESS:
        signal.signal(number, _harmless)
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # there may be no stderr
        faulthandler.register(DUMP_STACKS, all_threads=True)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _harmless(number: int, frame: FrameType | None) -> None:
    """Do nothing, until the program sets a handler of its own."""


def _execute(command: list[str], environ: Mapping[str, str], fds: list[int]) -> NoReturn:
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


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
