"""
The keeper: one process that does for the pool what needs the outside, duty by duty, and answers over HTTP.

It knows neither what the duties are nor what they talk to.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from supervisor.event_log import EventLog, Log
from supervisor.keeper.http_server import HttpServer, Routes
from supervisor.processes.after_fork import describe
from supervisor.processes.parent_death import ParentDeath
from supervisor.processes.process_tree import MARK
from supervisor.scoreboard.scoreboard import Scoreboard

BEAT_S = 0.25  # at the latest, between duties
FINISH_S = 0.3  # for clients that are being answered at the end

Sources = Callable[[], Mapping[int, Callable[[], object]]]
"""Further descriptors to wait for, and what to call when one is readable; asked anew at each turn."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to be done again and again; `run` may return the seconds until it wants to run next."""

    name: str
    every_seconds: float
    run: Callable[[], float | None]
    close: Callable[[], None] | None = None  # run when the keeper is asked to leave
    on_event_fd: bool = False  # run it at once when a worker rings `board.keeper_event_fd`
    first: bool = False  # before it is said that the keeper is up: one killed as soon as it is has done this


class Keeper:
    """
    Args:
        duties: Run one after the other, in this order where several are due; they should not block for longer than
            half of what the supervisor takes for silence.
        listener: Where `routes` are served over HTTP; None: nowhere.
    """

    def __init__(
        self,
        board: Scoreboard,
        duties: Sequence[Duty],
        listener: socket.socket | None,
        routes: Routes | None,
        log: Log,
        sources: Sources | None = None,
    ) -> None:
        self.board = board
        self._duties = duties
        self._log = EventLog(log)
        self._sources: Sources = sources or dict
        self._due: dict[str, float] = dict.fromkeys((duty.name for duty in duties), 0.0)
        self._leaving = False
        self._finished = False  # the next keeper answers now
        self._server = HttpServer(listener, routes, self._log, self._accepting) if listener and routes else None

    def run(self) -> int:
        """Do the duties until SIGTERM after `head.keeper_dismissed`, then close them; returns the exit status."""
        signals, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._asked_to_leave)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # from the terminal, for the whole group: we go last
        ParentDeath(self.board, f"{MARK}={os.environ.get(MARK, '')}".encode()).start()
        if self._server is not None:
            self._server.start()
        for duty in self._duties:
            if duty.first:
                self._do_if_due(duty)
        self._beat()
        self.board.event_fd.ring()
        while not self._leaving:
            self._beat()
            for duty in self._duties:
                self._do_if_due(duty)
                self._beat()
            self._wait(signals)
        self._close()
        if self._server is not None:
            self._finished = True
            self._server.finish(FINISH_S)
        return 0

    def _do_if_due(self, duty: Duty) -> None:
        if time.monotonic() >= self._due[duty.name] and not self._leaving:
            self._due[duty.name] = time.monotonic() + self._do(duty)

    def _do(self, duty: Duty) -> float:
        wanted: float | None = None
        with self._surviving(duty.name):
            wanted = duty.run()
        return duty.every_seconds if wanted is None else wanted

    def _wait(self, signals: int) -> None:
        callbacks = self._sources()
        poll = select.poll()
        for fd in (signals, self.board.keeper_event_fd.fileno(), *callbacks):
            poll.register(fd, select.POLLIN)
        wait_s = min([BEAT_S, *(at - time.monotonic() for at in self._due.values())])
        for fd, _ in poll.poll(max(wait_s, 0.0) * 1000):
            if fd in callbacks:
                with self._surviving(f"source {fd}"):
                    callbacks[fd]()
        with contextlib.suppress(BlockingIOError):
            os.read(signals, 4096)
        if self.board.keeper_event_fd.clear():
            self._due |= {duty.name: 0.0 for duty in self._duties if duty.on_event_fd}

    def _close(self) -> None:
        for duty in self._duties:
            if duty.close is not None:
                self._beat()
                with self._surviving(duty.name):
                    duty.close()

    @contextlib.contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        """Go on when a duty fails: it is tried again in its time, and the others go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001
            self._log("error", "duty.failed", duty=name, **describe(error))

    def _beat(self) -> None:
        self.board.head.keeper_beat_ns = time.monotonic_ns()

    def _accepting(self) -> bool:
        return not (self._finished or self.board.head.superseded or self.board.head.heir)

    def _asked_to_leave(self, number: int, frame: FrameType | None) -> None:
        # One that was sent to the whole process group is for the supervisor: it needs us until all have left.
        self._leaving = self._leaving or self.board.head.keeper_dismissed


def stay_until_dismissed(board: Scoreboard) -> None:
    """
    Set the handlers of a process that is to run a keeper.

    Signals for the whole process group are the supervisor's, also those that come before `Keeper.run`.
    """

    def asked_to_leave(number: int, _frame: FrameType | None) -> None:
        if board.head.keeper_dismissed:  # there is nothing to close yet
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, asked_to_leave)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
