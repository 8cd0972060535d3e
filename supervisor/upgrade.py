"""
A successor beside the running pool: started with the listening socket and told where to number its slots on.

It says over a pipe that it is ready; when the pipe closes without that, it has failed and the old pool stays.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from supervisor.control.systemd import Notify
from supervisor.errors import UpgradeRefused
from supervisor.event_log import EventLog
from supervisor.processes.process_tree import MARK
from supervisor.processes.processes import Child, Processes
from supervisor.scoreboard.scoreboard import Head

VARIABLE = "SUPERVISOR_INHERITANCE"
READY = b"ready"
HIGHEST_FIRST_SLOT = 10_000  # then the numbers begin again


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The inheritance that a predecessor hands to its successor by SIGUSR2."""

    first_slot: int
    listen_fd: int | None  # the health port's listening socket
    ready_fd: int  # a pipe, kept open until the pool is up
    predecessor: int  # its pid
    control_fd: int | None = None  # the listening socket of commands
    tables: tuple[int, ...] = ()  # memory in which was counted, its own first: see `inherited_counters.py`
    paused: bool = False  # nothing is taken: an upgrade is no reason to
    service_fds: tuple[int, ...] = ()  # what services listen on

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Inheritance | None:
        """Take it out of *environ*, so that no other process inherits it; None when there was no predecessor."""
        raw = environ.pop(VARIABLE, "")
        if not raw:
            return None
        inherited = cls(**json.loads(raw))
        own = (inherited.listen_fd, inherited.ready_fd, inherited.control_fd)
        for fd in (*own, *inherited.tables, *inherited.service_fds):
            if fd is not None:
                os.set_inheritable(fd, False)
        return inherited

    def announce(self) -> None:
        """Tell the predecessor that it can go; never fails, it may be gone already."""
        try:
            os.write(self.ready_fd, READY)
        except BrokenPipeError:
            pass
        finally:
            os.close(self.ready_fd)


class Succession:
    """
    Starts a successor and finds out what becomes of it; one at a time.

    Args:
        command: What to execute.
        listener, control, shared: The sockets to hand on; the last are those that services listen on.
        tables: Says which tables are counted in, by their descriptors.
    """

    def __init__(
        self,
        processes: Processes,
        log: EventLog,
        command: list[str],
        listener: socket.socket | None,
        control: socket.socket | None = None,
        tables: Callable[[], list[int]] = list,
        shared: Sequence[socket.socket] = (),
    ) -> None:
        self._tables = tables
        self._shared = shared
        self._processes = processes
        self._log = log
        self._command = command
        self._listener = listener
        self._control = control
        self._heir: Child | None = None
        self._handed_on = False
        self._reader = -1
        self._deadline = 0.0

    @property
    def under_way(self) -> bool:
        return self._heir is not None

    def attempt(self, head: Head, notify: Notify | None, deadline: float) -> None:
        """Start the successor of the pool with that *head*, or log why it can't be started; see `start`."""
        environ = {name: value for name, value in os.environ.items() if name != MARK}
        environ |= notify.environ() if notify else {}
        try:
            self.start(next_first_slot(head.highest_slot), environ, deadline, paused=head.paused)
        except UpgradeRefused as refused:
            self._log("error", "upgrade.refused", reason=str(refused))

    def start(self, first_slot: int, environ: Mapping[str, str], deadline: float, *, paused: bool) -> None:
        """
        Start the successor.

        Raises:
            UpgradeRefused: It can't be started from here, or not now.
        """
        self._check()
        listen_fd, control_fd = (None if it is None else it.fileno() for it in (self._listener, self._control))
        try:
            self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise UpgradeRefused(f"it could not be started: {error}") from None
        tables = tuple(self._tables())
        shared = tuple(one.fileno() for one in self._shared)
        inheritance = Inheritance(first_slot, listen_fd, writer, os.getpid(), control_fd, tables, paused, shared)
        fds = [fd for fd in (writer, listen_fd, control_fd, *tables, *shared) if fd is not None]
        passed_on = {**environ, VARIABLE: json.dumps(asdict(inheritance))}
        try:
            self._heir = self._processes.execute(self._command, passed_on, fds)
        except OSError as error:
            os.close(self._reader)
            raise UpgradeRefused(f"it could not be started: {error}") from None
        finally:
            os.close(writer)
        self._deadline = deadline
        self._log("info", "upgrade.started", pid=self._heir.pid, first_slot=first_slot)

    def ready_pid(self, now: float) -> int:
        """
        The successor's pid once it is ready, else 0; one that takes too long or ends is done with.

        One whose word is read only after its end has failed even if it was ready: we are the host's only pool.
        """
        if self._heir is None:
            return 0
        said, ended = self._said(), self._heir.ended()
        if said == READY and not ended:
            pid = self._heir.pid
            self._handed_on = True
            self._finish("info", "upgrade.ready", pid=pid)
            return pid
        if ended or said is not None:
            self.abandon(f"it ended {'after' if said == READY else 'before'} it was ready")
        elif now > self._deadline:
            self.abandon("it took too long")
        return 0

    def abandon(self, why: str) -> None:
        """End the successor if there is one."""
        if self._heir is not None:
            self._heir.signal(signal.SIGTERM)
            self._finish("error", "upgrade.failed", why=why)

    def refuse(self) -> None:
        """
        Refuse who connects to the services, which have all left: else they wait in a line that nobody serves.

        Workers hold these sockets too, so they are shut, not closed; a successor that has them goes on.
        """
        for one in () if self._handed_on else self._shared:
            with suppress(OSError):  # it does not listen, it only keeps its port
                one.shutdown(socket.SHUT_RD)

    def _check(self) -> None:
        if self._heir is not None:
            raise UpgradeRefused("a successor is starting already")
        if os.getpid() == 1:
            raise UpgradeRefused("as PID 1 we can't leave it alone: all ends with us")
        if self._processes.companions:
            raise UpgradeRefused(f"{', '.join(self._processes.companions.values())} would end with us")

    def _said(self) -> bytes | None:
        try:
            return os.read(self._reader, len(READY))
        except BlockingIOError:
            return None

    def _finish(self, level: str, event: str, **fields: object) -> None:
        os.close(self._reader)
        if self._heir is not None:
            os.close(self._heir.fd)
        self._heir = None
        self._log(level, event, **fields)


def next_first_slot(highest: int) -> int:
    """Return the first slot number of a successor, *highest* being the highest number in use here."""
    return highest + 1 if highest < HIGHEST_FIRST_SLOT else 1
