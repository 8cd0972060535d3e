"""
The loop: waits for signals, commands, deaths and wakeups, and hands them on.

One thread, no network, nothing that blocks. What follows for the whole pool is decided in `pool_lifecycle`, for a
single slot in `slots`; both by the tables in `transitions`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from setproctitle import setproctitle

from supervisor.control.commands import Commands
from supervisor.control.control_socket import ControlSocket
from supervisor.control.systemd import Notify
from supervisor.event_log import EventLog, Log
from supervisor.pool_lifecycle import PoolLifecycle
from supervisor.processes.process_tree import MARK
from supervisor.processes.processes import Child, Processes, threads
from supervisor.processes.stray_sweep import Sweep
from supervisor.program import Program
from supervisor.scoreboard.inherited_counters import inherit
from supervisor.scoreboard.layout import PAGE
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.signals import Inbox, Request
from supervisor.slots.host import Host
from supervisor.transitions import Mode, PoolEvent
from supervisor.upgrade import Inheritance, Succession

TICK_S = 0.25
UPGRADE_BOOTS = 3  # boot timeouts a successor has


class Supervisor:
    """
    Keeps a pool of workers and their keeper alive until it is asked to end.

    Args:
        program: What they run.
        board: Made in this process; its first slot as `inheritance` says.
        log: What it raises is lost.
        companions: Children that the caller has started for the pool, names by pid: ended after everything else.
        listener: The socket that a successor (SIGUSR2) goes on listening on.
        control: Where commands come in, listening; None: nowhere. A successor goes on with it.
        command: How to start a successor; default: as this process was started.
        inheritance: From the predecessor that has started us.
        services: The scoreboard of the services; None: there are none.
        shared: The sockets that services listen on, for a successor.
    """

    def __init__(
        self,
        program: Program,
        board: Scoreboard,
        log: Log,
        notify: Notify | None = None,
        clock: Callable[[], float] = time.monotonic,
        companions: Mapping[int, str] | None = None,
        *,
        listener: socket.socket | None = None,
        control: socket.socket | None = None,
        command: list[str] | None = None,
        inheritance: Inheritance | None = None,
        services: Scoreboard | None = None,
        shared: Sequence[socket.socket] = (),
    ) -> None:
        self.board = board
        self.log = EventLog(log)
        self._now = clock
        self._processes = Processes(log, companions)
        command = command or [sys.executable, *sys.orig_argv[1:]]
        succession = Succession(self._processes, self.log, command, listener, control, lambda: board.tables, shared)
        if inheritance is not None and inherit(board, list(inheritance.tables)):
            self.log("info", "upgrade.uncounted", advice="the totals begin anew: they were kept by another version")
        board.head.paused = inheritance is not None and inheritance.paused
        # What is inherited is the predecessor's until we are ready.
        ours = inheritance is None or inheritance.control_fd is None
        self._control = None if control is None else ControlSocket(control, open_now=ours, clock=clock)
        boards = board, Scoreboard(1, PAGE, hidden=True) if services is None else services
        host = Host(self._fork, clock, self.log)
        self._lifecycle = PoolLifecycle(
            program, boards, host, self._processes, succession, notify, inheritance, self._control
        )
        self._commands = None if self._control is None else Commands(self._lifecycle, self._control)
        self._sweep = Sweep(self._processes, clock)
        self._title = ""
        self._threads_told = False

    def run(self) -> int:
        """Returns the exit status: 0 clean, 1 a worker had to be killed or the pool given up, 78 wrong settings."""
        self._begin()
        while self._lifecycle.mode is not Mode.STOPPED:
            self._wait()
            for request in self._inbox.read():
                self._serve(request)
            if self._commands is not None:
                self._commands.turn()
            if self.board.event_fd.clear():
                self.board.wakeups.pass_on()
            # First of all: what a dead worker held is to run again at once.
            self._reap()
            self._lifecycle.observe()
            self._lifecycle.act()
            self._sweep.advance()
            self._show()
        self._selector.close()
        self._inbox.close_in_child()
        if self._control is not None:
            self._control.close()
        self.log("info", "pool.stopped", status=self._lifecycle.status)
        return self._lifecycle.status

    # The loop's turns.

    def _begin(self) -> None:
        self.board.head.supervisor_pid, self.board.head.started_ns = os.getpid(), time.monotonic_ns()
        os.environ[MARK] = uuid.uuid4().hex
        self._processes.become_reaper()
        self._inbox = Inbox()
        self._selector = selectors.DefaultSelector()
        for fd in self._inbox.filenos():
            self._selector.register(fd, selectors.EVENT_READ)
        self._selector.register(self.board.event_fd, selectors.EVENT_READ)
        self._processes.close_in_child += [self._inbox.close_in_child, self._selector.close]
        if self._control is not None:
            self._selector.register(self._control, selectors.EVENT_READ)
            self._processes.close_in_child.append(self._control.close_in_child)
        self._processes.freeze_heap()
        self.log("info", "pool.starting", workers=self._lifecycle.settings.workers, pid=os.getpid())
        self._lifecycle.begin()

    def _wait(self) -> None:
        now = self._now()
        looks = (self._lifecycle.next_look(), self._sweep.next_look())
        soonest = min([now + TICK_S, *(at for at in looks if at is not None)])
        self._selector.select(max(soonest - now, 0.0))

    def _show(self) -> None:
        self.board.head.supervisor_beat_ns = time.monotonic_ns()
        summary = f"{self._lifecycle.mode}, {self._lifecycle.view.summary()}"
        if summary != self._title:
            self._title = summary
            setproctitle(f"{self._lifecycle.settings.name}: supervisor ({summary})")
        if self._lifecycle.notify is not None:
            self._lifecycle.notify.ping(self._now())
            self._lifecycle.notify.status(summary)

    def _reap(self) -> None:
        for child, died in self._processes.reap():
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.fd)
            os.close(child.fd)
            if self._lifecycle.exited(child, died):
                self._sweep.begin()

    def _fork(self, name: str, main: Callable[[], int], set_handlers: Callable[[], None]) -> Child:
        if threads() > 1 and not self._threads_told:
            self._threads_told = True
            self.log("error", "fork.threads", threads=threads(), fix="start no thread before the workers are forked")
        child = self._processes.fork(f"{self._lifecycle.settings.name}: {name}", main, set_handlers)
        self._selector.register(child.fd, selectors.EVENT_READ)
        return child

    def _serve(self, request: Request) -> None:
        lifecycle = self._lifecycle
        match request:
            case Request.DRAIN:
                lifecycle.asked_to_drain()
            case Request.HURRY:
                lifecycle.feed(PoolEvent.HURRY)
            case Request.RELOAD:
                lifecycle.feed(PoolEvent.RELOAD)
            case Request.REOPEN_LOGS:
                lifecycle.reopen_logs()
            case Request.UPGRADE:
                lifecycle.upgrade()
            case Request.GROW:
                lifecycle.grow()
            case Request.SHRINK:
                lifecycle.shrink()
            case Request.PAUSE:
                lifecycle.pause(True)
            case Request.RESUME:
                lifecycle.pause(False)
            case Request.REPORT:
                lifecycle.view.log(lifecycle.mode)
            case Request.REAP:
                lifecycle.note_stops()
