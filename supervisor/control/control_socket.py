"""
Commands over a unix socket, for a client that can't send every signal, or wants to know what came of it.

A client writes one line and reads one line of JSON: `{"ok": true, "said": …}` or `{"ok": false, "error": …}`. One that
is slow, silent or rude costs one of `CLIENTS` places for `TIMEOUT_S` seconds, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import NamedTuple

CLIENTS = 32
TIMEOUT_S = 5.0
LINE_LIMIT = 256  # bytes
ADDRESS_LIMIT = 107  # bytes: the kernel's
_CREDENTIALS = Struct("iII")
_TIMEVAL = Struct("ll")


class Peer(NamedTuple):
    """The peer of a control connection, by the credentials that the kernel reports."""

    pid: int
    uid: int
    gid: int


@dataclass(slots=True, eq=False)
class Call:
    """
    One command and the client that waits for its reply.

    Attributes:
        line: The command; empty until it is complete.
    """

    socket: socket.socket
    peer: Peer
    deadline: float
    line: str = ""
    received: bytearray = field(default_factory=bytearray)
    to_send: memoryview | None = None


class ControlSocket:
    """
    Takes commands from *listener*, and answers them when the supervisor says so; `fileno()` is readable when there
    is something to do.

    Args:
        open_now: Whether commands are ours to take from the beginning; else from `open` on.
    """

    def __init__(
        self, listener: socket.socket, *, open_now: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener = listener
        self._now = clock
        self._selector = selectors.EpollSelector()
        self._calls: list[Call] = []
        self._path = _path_of(listener)
        self._is_open = False
        listener.setblocking(False)
        if open_now:
            self.open()

    def fileno(self) -> int:
        return self._selector.fileno()

    def open(self) -> None:
        """Take commands; the socket's former owner does so no more."""
        if not self._is_open:
            self._is_open = True
            self._selector.register(self._listener, selectors.EVENT_READ)

    def shut(self) -> None:
        """Leave new commands to a successor, for good."""
        if self._is_open:
            self._is_open = False
            self._selector.unregister(self._listener)
        self._listener.close()  # should the successor end before us, no client is to wait here in vain

    def read(self) -> list[Call]:
        """Take what has come in, send what has to go out; return the commands that are complete now."""
        calls: list[Call] = []
        for key, _ in self._selector.select(0):
            if key.data is None:
                self._accept()
            elif key.data.to_send is not None:
                self._send(key.data)
            elif self._receive(key.data):
                calls.append(key.data)
        for call in [known for known in self._calls if known.deadline < self._now()]:
            self._hang_up(call)
        return calls

    def answer(self, call: Call, error: str = "", **fields: object) -> None:
        """Say what came of *call*; never fails, the client may be gone."""
        answer = {"ok": False, "error": error} if error else {"ok": True, **fields}
        call.deadline = self._now() + TIMEOUT_S
        call.to_send = memoryview(json.dumps(answer, default=str).encode() + b"\n")
        if call in self._calls:
            self._selector.register(call.socket, selectors.EVENT_WRITE, call)
            self._send(call)

    def close_in_child(self) -> None:
        """Let go of everything in a process that was forked."""
        self._selector.close()
        self._listener.close()
        for call in self._calls:
            call.socket.close()

    def close(self) -> None:
        """Hang up on all clients; a socket that is a file goes, unless predecessor or successor listen there."""
        self.close_in_child()
        if self._path:
            with contextlib.suppress(OSError):
                _clear_away(self._path)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # a successor was faster, it hung up again, or there is no descriptor left
            return
        accepted.setblocking(False)
        peer = Peer(*_CREDENTIALS.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))
        # A path has its permissions; an abstract name is open to all.
        if not self._path and peer.uid not in (0, os.geteuid()):
            accepted.close()
            return
        if len(self._calls) >= CLIENTS:
            self._hang_up(self._calls[0])
        call = Call(accepted, peer, self._now() + TIMEOUT_S)
        self._calls.append(call)
        self._selector.register(accepted, selectors.EVENT_READ, call)

    def _receive(self, call: Call) -> bool:
        """Returns whether the command is complete."""
        try:
            data = call.socket.recv(LINE_LIMIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        call.received += data
        line, complete, _ = bytes(call.received).partition(b"\n")
        if not data or len(line) > LINE_LIMIT:
            self._hang_up(call)
            return False
        if complete:
            # What it says from now on is not listened to; its answer may take as long as a reload waits.
            self._selector.unregister(call.socket)
            call.line, call.deadline = " ".join(line.decode("utf-8", "replace").split()) or "nothing", float("inf")
        return bool(complete)

    def _send(self, call: Call) -> None:
        assert call.to_send is not None
        try:
            call.to_send = call.to_send[call.socket.send(call.to_send, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            return
        except OSError:
            call.to_send = memoryview(b"")
        if not call.to_send:
            self._hang_up(call)

    def _hang_up(self, call: Call) -> None:
        self._calls.remove(call)
        with contextlib.suppress(KeyError):
            self._selector.unregister(call.socket)
        call.socket.close()


def listen(address: str) -> socket.socket:
    """
    Have commands come in at *address*: a path, or `@name` for an abstract one.

    A file that a dead pool has left is replaced.

    Raises:
        OSError: That can't be; EADDRINUSE: another process answers there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not address.startswith("@"):
            _clear_away(address)
        _bind_private(made, address)
        made.listen(CLIENTS)
    except BaseException:
        made.close()
        raise
    return made


def ask(address: str, line: str, timeout_s: float | None = None) -> dict[str, object]:
    """
    Send one command and wait for its answer, as a client.

    Args:
        timeout_s: None: as long as it takes.

    Raises:
        OSError: No process answers there.
    """
    if not hasattr(socket, "AF_UNIX"):  # Windows, where no pool runs
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        _stand_in_line(client, address, timeout_s)
        client.sendall(line.encode() + b"\n")
        with client.makefile("rb") as reader:
            answer = reader.readline()
    if not answer.endswith(b"\n"):
        raise ConnectionResetError(errno.ECONNRESET, "it hung up without an answer")
    return dict(json.loads(answer))


def _stand_in_line(client: socket.socket, address: str, timeout_s: float | None) -> None:
    # With Python's own timeout the socket would not block, and a full queue be an error at once (EAGAIN).
    if timeout_s is not None:
        seconds = int(timeout_s)
        limit = _TIMEVAL.pack(seconds, int((timeout_s - seconds) * 1e6))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    try:
        client.connect(_kernel(address))
    except BlockingIOError:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
    client.settimeout(timeout_s)


def _kernel(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address


def _bind_private(made: socket.socket, address: str) -> None:
    # Before anything else runs here: no other file gets that mask.
    before = os.umask(0o177)
    try:
        made.bind(_kernel(address))
    finally:
        os.umask(before)


def _clear_away(path: str) -> None:
    """
    Remove a socket file that no process listens at any more.

    Raises:
        OSError: EADDRINUSE: one does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except FileNotFoundError:
            return
        except BlockingIOError:  # its queue is full: a process has it open
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _path_of(listener: socket.socket) -> str:
    """Return the socket's path in the file system; empty if its address is abstract."""
    name = listener.getsockname()
    return name if isinstance(name, str) else ""
