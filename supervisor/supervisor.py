"""
The loop: waits for signals, deaths and bells, and hands them on.

One thread, no network, nothing that blocks. What follows for the whole pool is decided in `course`,
for a single seat in `seat`; both by the tables in `lifecycle`.
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
from supervisor.control.report import StackDump, rows_report
from supervisor.control.systemd import Notify
from supervisor.errors import UpgradeRefused
from supervisor.pool import Pool
from supervisor.pool_lifecycle import PoolLifecycle
from supervisor.processes.process_tree import MARK
from supervisor.processes.processes import REOPEN_LOGS, Child, Exit, Processes, threads
from supervisor.processes.stray_sweep import Sweep
from supervisor.program import Journal, Log, PoolSettings, Program
from supervisor.scaling import Bounds
from supervisor.scoreboard.inherited_counters import inherit
from supervisor.scoreboard.layout import PAGE
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.signals import Inbox, Request
from supervisor.slots.keeper_slot import KeeperSlot
from supervisor.slots.service_slot import ServiceSlot
from supervisor.slots.worker_slot import WorkerSlot
from supervisor.transitions import Mode, PoolEvent
from supervisor.upgrade import Inheritance, Succession, next_first_slot

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
        self._services_board = Scoreboard(1, PAGE, hidden=True) if services is None else services
        self.log = Journal(log)
        self.now = clock
        self._processes = Processes(log, companions)
        command = command or [sys.executable, *sys.orig_argv[1:]]
        self._succession = Succession(
            self._processes, self.log, command, listener, control, lambda: board.tables, shared
        )
        if inheritance is not None and inherit(board, list(inheritance.tables)):
            self.log("info", "upgrade.uncounted", advice="the totals begin anew: they were kept by another version")
        board.head.paused = inheritance is not None and inheritance.paused
        # What is inherited is the predecessor's until we are ready.
        ours = inheritance is None or inheritance.control_fd is None
        self._control = None if control is None else ControlSocket(control, open_now=ours, clock=clock)
        self._lifecycle = PoolLifecycle(
            program, board, self.log, clock, self._processes, self._succession, notify, inheritance, self._control
        )
        self._commands = None if self._control is None else Commands(self, self._control)
        make_room = self._processes.make_room
        self._pool = Pool(board, self._hire, clock, make_room, self.log, least=min(1, program.pool.workers))
        self._services = Pool(self._services_board, self._hire_service, clock, make_room, self.log, least=0)
        self._keeper = KeeperSlot(board, self, program)
        self._sweep = Sweep(self._processes, clock)
        self._title = ""
        self._dump = StackDump(clock)
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
            self._look_around()
            self._act()
            self._show()
        self._selector.close()
        self._inbox.close_in_child()
        if self._control is not None:
            self._control.close()
        self.log("info", "pool.stopped", status=self._lifecycle.status)
        return self._lifecycle.status

    # What seats ask for.

    @property
    def settings(self) -> PoolSettings:
        return self._lifecycle.generation.program.pool

    @property
    def generation(self) -> int:
        return self._lifecycle.generation.number

    @property
    def draining(self) -> bool:
        return self._lifecycle.drained is not None

    @property
    def keeper_needed(self) -> bool:
        return self._lifecycle.drained is None or self._lifecycle.drained.keeper_needed

    def fork(self, name: str, main: Callable[[], int], set_handlers: Callable[[], None]) -> Child:
        if threads() > 1 and not self._threads_told:
            self._threads_told = True
            self.log("error", "fork.threads", threads=threads(), fix="start no thread before the workers are forked")
        child = self._processes.fork(f"{self.settings.name}: {name}", main, set_handlers)
        self._selector.register(child.fd, selectors.EVENT_READ)
        return child

    def boot_failed(self, died: Exit, failures: int) -> None:
        self._lifecycle.boot_failed(died, failures)

    # What commands ask for; some signals ask for the same.

    @property
    def mode(self) -> Mode:
        return self._lifecycle.mode

    def summary(self) -> str:
        serving = f", {self._services.ready} serving" if self._services.slots else ""
        return f"{self._pool.summary()}{serving}{', paused' if self.board.head.paused else ''}"

    def rows(self) -> list[dict[str, object]]:
        return rows_report(self.board)

    def drain(self) -> None:
        """Unlike SIGTERM, asked for again it is not meant more urgently."""
        self._lifecycle.feed(PoolEvent.DRAIN)

    def reload(self, checked: Callable[[str], None]) -> None:
        self._lifecycle.ask_to_reload(checked)

    def scale(self, bounds: Bounds) -> None:
        if self.mode is not Mode.DRAINING:
            most = self.board.capacity
            self._lifecycle.scale(Bounds(min(max(bounds.least, 1), most), min(max(bounds.most, 1), most)))
            about = {} if self._lifecycle.bounds.fixed else {"bounds": str(self._lifecycle.bounds)}
            self.log("info", "pool.resized", workers=self.board.head.configured, **about)

    def pause(self, paused: bool) -> None:
        if self.board.head.paused is not paused:
            self.board.head.paused = paused
            self.log("info", "pool.paused" if paused else "pool.resumed")
            self._pool.wake()
            self.board.keeper_event_fd.ring()

    def report(self) -> None:
        self.log("info", "pool.status", mode=self.mode, summary=self.summary())
        for fields in self.rows():
            self.log("info", "slot.status", **fields)
        self._dump.begin([*self._pool.slots, *self._services.slots])

    # The loop's turns.

    def _begin(self) -> None:
        self.board.head.supervisor_pid, self.board.head.started_ns = os.getpid(), time.monotonic_ns()
        os.environ[MARK] = uuid.uuid4().hex
        self._processes.become_reaper()
        self._inbox = Inbox()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._selector.register(self.board.event_fd, selectors.EVENT_READ)
        self._processes.close_in_child += [self._inbox.close_in_child, self._selector.close]
        if self._control is not None:
            self._selector.register(self._control, selectors.EVENT_READ)
            self._processes.close_in_child.append(self._control.close_in_child)
        self._processes.freeze_heap()
        self.log("info", "pool.starting", workers=self.settings.workers, pid=os.getpid())
        self._lifecycle.lead(self._pool, self._services, self._keeper)

    def _wait(self) -> None:
        now = self.now()
        drain = self._lifecycle.drained
        looks = [self._pool.next_look(), self._services.next_look(), self._keeper.next_look(), self._sweep.next_look()]
        looks.append(None if drain is None else drain.next_look())
        looks.append(self._dump.next_look())
        soonest = min([now + TICK_S, *(at for at in looks if at is not None)])
        self._selector.select(max(soonest - now, 0.0))

    def _look_around(self) -> None:
        # First of all: what a dead worker held is to run again at once.
        self._reap()
        self._keeper.observe()
        self._pool.observe()
        self._services.observe()
        heir = self._succession.ready_pid(self.now())
        if heir:
            self._lifecycle.superseded(heir)

    def _act(self) -> None:
        self._keeper.refill()
        self._pool.refill()
        self._services.refill()
        self._sweep.advance()
        self._dump.advance()
        self._lifecycle.advance()

    def _show(self) -> None:
        self.board.head.supervisor_beat_ns = time.monotonic_ns()
        summary = f"{self._lifecycle.mode}, {self.summary()}"
        if summary != self._title:
            self._title = summary
            setproctitle(f"{self.settings.name}: supervisor ({summary})")
        if self._lifecycle.notify is not None:
            self._lifecycle.notify.ping(self.now())
            self._lifecycle.notify.status(summary)

    def _reap(self) -> None:
        for child, died in self._processes.reap():
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.fd)
            os.close(child.fd)
            seat = self._keeper if self._keeper.child == child else self._pool.of(child) or self._services.of(child)
            if seat is not None:
                seat.exited(died)
                self._sweep.begin()

    def _hire(self, number: int) -> WorkerSlot:
        return WorkerSlot(self.board.row(number), self.board, self, self._lifecycle.generation.program)

    def _hire_service(self, number: int) -> ServiceSlot:
        board = self._services_board
        return ServiceSlot(board.row(number), board, self, self._lifecycle.generation.program)

    # Requests.

    def _serve(self, request: Request) -> None:
        match request:
            case Request.DRAIN:
                self._lifecycle.asked_to_drain()
            case Request.HURRY:
                self._lifecycle.feed(PoolEvent.HURRY)
            case Request.RELOAD:
                self._lifecycle.feed(PoolEvent.RELOAD)
            case Request.REOPEN_LOGS:
                self._reopen_logs()
            case Request.UPGRADE:
                self._upgrade()
            case Request.GROW:
                self.scale(self._lifecycle.bounds.one_more(self.board.head.configured))
            case Request.SHRINK:
                self.scale(self._lifecycle.bounds.one_fewer(self.board.head.configured))
            case Request.PAUSE:
                self.pause(True)
            case Request.RESUME:
                self.pause(False)
            case Request.REPORT:
                self.report()
            case Request.REAP:
                self._note_stops()

    def _reopen_logs(self) -> None:
        self._lifecycle.generation.program.reopen_logs()
        self._pool.signal(REOPEN_LOGS)
        self._services.signal(REOPEN_LOGS)
        self._keeper.signal(REOPEN_LOGS)

    def _note_stops(self) -> None:
        for child, stopped in self._processes.stops():
            slot = self._pool.of(child)
            if slot is not None:
                slot.note_stopped(stopped)

    def _upgrade(self) -> None:
        if self._lifecycle.mode is not Mode.RUNNING:
            self.log("error", "upgrade.refused", reason=f"the pool is {self._lifecycle.mode}")
            return
        environ = {name: value for name, value in os.environ.items() if name != MARK}
        environ |= self._lifecycle.notify.environ() if self._lifecycle.notify else {}
        deadline = self.now() + UPGRADE_BOOTS * self.settings.boot_timeout_s
        head = self.board.head
        try:
            self._succession.start(next_first_slot(head.highest_slot), environ, deadline, paused=head.paused)
        except UpgradeRefused as refused:
            self.log("error", "upgrade.refused", reason=str(refused))
