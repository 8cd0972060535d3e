"""Fork, signal, reap: with `process_tree`, the only place that knows process numbers."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from supervisor.event_log import EventLog, Log
from supervisor.processes import after_fork, process_tree

DUMP_STACKS = after_fork.DUMP_STACKS
REOPEN_LOGS = signal.SIGHUP
END_RUN = signal.SIGUSR2


@dataclass(frozen=True, slots=True)
class Exit:
    """The exit of a child process: its code or its signal."""

    code: int  # exit status, or minus the signal

    @property
    def cause(self) -> str:
        return f"exit:{self.code}" if self.code >= 0 else f"signal:{_signal_name(-self.code)}"


@dataclass(frozen=True, slots=True)
class Child:
    """A child process that was started here."""

    pid: int
    fd: int  # a pidfd: readable once it is dead

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def ended(self) -> bool:
        """Tell whether the process is dead, reaped or not."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def look(self) -> str:
        """Read its state as the kernel sees it, one letter: R, S, D (waits for a device), T (stopped) …"""
        process = process_tree.read(self.pid)
        return process.state if process else "X"


class Processes:
    """
    All children of this process: those started here and those that were orphaned to it.

    Args:
        log: Where a child says why it failed.
        companions: Children that others have started for us, names by pid.
    """

    def __init__(self, log: Log, companions: Mapping[int, str] | None = None) -> None:
        self.log = EventLog(log)
        self.companions = dict(companions or {})
        self._companions_told = False
        self.close_in_child: list[Callable[[], None]] = []
        self._children: dict[int, Child] = {}

    def become_reaper(self) -> None:
        """Inherit what descendants of ours leave behind."""
        after_fork.become_reaper()

    def freeze_heap(self) -> None:
        """Keep what is loaded now out of garbage collection, so that children go on sharing it."""
        gc.collect()
        gc.freeze()

    def make_room(self, descriptors: int) -> None:
        """Allow us that many descriptors, if we may."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def fork(self, title: str, main: Callable[[], int], set_handlers: Callable[[], None] = lambda: None) -> Child:
        """
        Start a child that runs *main* and exits with what it returns.

        Args:
            set_handlers: Called in it first, with all signals still blocked.

        Raises:
            OSError: There is no room for it.
        """
        after_fork.flush()
        # Blocked across the fork: none may meet the child with the parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                after_fork.live(parent, title, main, set_handlers, self._let_go, self.log)
            return self._keep(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def execute(self, command: list[str], environ: Mapping[str, str], fds: list[int]) -> Child:
        """
        Start *command* beside us, with *fds* open: it outlives us.

        It is not our child but that of who takes in orphans, from its first moment: systemd waits for the end of a
        main process only if that is its own child, and kills at once what it should have let drain.

        Raises:
            OSError: There is no room for it.
        """
        after_fork.flush()
        ours, theirs = socket.socketpair()  # first: where there is no room for it, no signal is to stay blocked
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            parent = os.fork()
            if parent == 0:
                ours.close()
                after_fork.leave_behind(theirs, command, environ, fds)
            theirs.close()
            return self._leave_alone(parent, ours)
        finally:
            ours.close()
            theirs.close()
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
                level = "info" if self._companions_told else "error"
                self.log(level, "companion.died", name=self.companions.pop(pid), cause=Exit(code).cause)

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
            How many there were, the dead included: what they had started is orphaned to us only by their end, so
            repeat until there are none.
        """
        known = {*self._children, *self.companions}
        try:
            strays = [pid for pid in process_tree.children_of(os.getpid()) if pid not in known]
        except OSError:  # no descriptor left to look with
            return 1
        for pid in strays:
            process = process_tree.read(pid)
            if process is not None:
                process_tree.kill(process)
        return len(strays)

    def signal_companions(self, number: signal.Signals) -> None:
        self._companions_told = True
        for pid in self.companions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _leave_alone(self, parent: int, link: socket.socket) -> Child:
        """Get to know the child of *parent*, which ends then; for that moment orphans go past us."""
        try:
            pid = int(link.recv(32) or b"0")
            if not pid:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            child = _known(pid)
            after_fork.become_reaper(False)
            return child
        finally:
            link.close()
            os.waitpid(parent, 0)
            after_fork.become_reaper()

    def _keep(self, pid: int) -> Child:
        try:
            child = _known(pid)
        except OSError:
            os.waitpid(pid, 0)
            raise
        self._children[pid] = child
        return child

    def _let_go(self) -> None:
        for close in self.close_in_child:
            close()
        for child in self._children.values():
            os.close(child.fd)
        self._children.clear()


def _known(pid: int) -> Child:
    """A process that only its parent could reap, and has not; it is ended where we can't get hold of it."""
    try:
        return Child(pid, os.pidfd_open(pid))
    except OSError:
        os.kill(pid, signal.SIGKILL)
        raise


def reap_adopted(seen: dict[int, int]) -> int:
    """
    Reap what was orphaned to this process and has died: call between items.

    A child that is still a zombie at the second call has no parent that waits for it.

    Args:
        seen: Kept by the caller from call to call: start of each zombie by pid.

    Returns:
        How many may be left for the next call.
    """
    children = (process_tree.read(pid) for pid in process_tree.children_of(os.getpid()))
    zombies = {process.pid: process.started for process in children if process and process.state == "Z"}
    for pid, started in zombies.items():
        if seen.get(pid) == started:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    seen.clear()
    seen.update(zombies)
    return len(seen)


def threads() -> int:
    """Native threads of this process, those that Python does not know of included."""
    return len(os.listdir("/proc/self/task"))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
