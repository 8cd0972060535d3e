"""
A small HTTP server for a few pages that are made at once: GET and HEAD, one answer a connection.

It runs in a thread of the keeper. A client that is slow, silent or rude costs one of `CONNECTIONS` places for
`TIMEOUT_S` seconds, and nothing else.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from supervisor.event_log import EventLog
from supervisor.keeper.loopback import is_loopback
from supervisor.processes.after_fork import describe

Routes = Callable[[str, Mapping[str, str], bool], tuple[int, str, bytes]]
"""
From path (with query), headers (names in lower case) and whether the client is on this machine to status, content type
and body.
"""

CONNECTIONS = 64
TIMEOUT_S = 5.0
HEAD_LIMIT = 16 * 1024  # bytes
CHUNK = 64 * 1024
TICK_S = 0.1  # how soon a change in who accepts is seen
FINISH_LOOK_S = 0.005
ACCEPT_PAUSE_S = 0.5  # when there are no descriptors left
_HINTS: dict[int, str] = {
    HTTPStatus.METHOD_NOT_ALLOWED: "Allow: GET, HEAD\r\n",
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate: Bearer\r\n",
}


@dataclass(slots=True)
class Connection:
    socket: socket.socket
    deadline: float
    local: bool  # by loopback
    received: bytearray = field(default_factory=bytearray)
    to_send: memoryview | None = None


class BadRequest(Exception):
    """A request that the keeper's HTTP server does not answer; `status` tells the client why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class HttpServer:
    """
    Args:
        listener: Bound and listening; others may accept from it too.
        routes: Answers a request; runs in the server's thread.
        accepting: Whether new connections are ours to take.
    """

    def __init__(
        self, listener: socket.socket, routes: Routes, log: EventLog, accepting: Callable[[], bool] = lambda: True
    ) -> None:
        self._listener = listener
        self._routes = routes
        self._log = log
        self._accepting = accepting
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, Connection] = {}
        self._listening = False
        self._paused_until = 0.0

    def start(self) -> None:
        """Serve in a thread of its own, which ends with the process."""
        threading.Thread(target=self.serve, name="http", daemon=True).start()

    def serve(self) -> None:
        self._listener.setblocking(False)
        while True:
            self.turn(TICK_S)

    def turn(self, timeout_s: float) -> None:
        """Serve what is ready within *timeout_s*."""
        self._listen_or_not()
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._accept()
            elif key.data.to_send is None:
                self._receive(key.data)
            else:
                self._send(key.data)
        now = time.monotonic()
        for connection in [known for known in self._connections.values() if known.deadline < now]:
            self._close(connection)

    def finish(self, seconds: float) -> None:
        """Let the answers under way reach their clients; *accepting* must say no by now. For another thread."""
        deadline = time.monotonic() + seconds
        while self._connections and time.monotonic() < deadline:
            time.sleep(FINISH_LOOK_S)

    def close(self) -> None:
        """Close all connections; the listener is the caller's."""
        for connection in list(self._connections.values()):
            self._close(connection)
        self._selector.close()

    def _listen_or_not(self) -> None:
        wanted = self._accepting() and time.monotonic() >= self._paused_until
        if wanted and not self._listening:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._listening and not wanted:
            self._selector.unregister(self._listener)
        self._listening = wanted

    def _accept(self) -> None:
        if not self._accepting():  # any more: that may have changed while we waited
            return
        try:
            accepted, peer = self._listener.accept()
        except BlockingIOError:  # another process was faster
            return
        except OSError as error:
            self._paused_until = time.monotonic() + ACCEPT_PAUSE_S
            self._log("warn", "http.accept_failed", error=str(error))
            return
        accepted.setblocking(False)
        if len(self._connections) >= CONNECTIONS:
            self._close(next(iter(self._connections.values())))
        connection = Connection(accepted, time.monotonic() + TIMEOUT_S, is_loopback(peer))
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        head, complete, _ = bytes(connection.received[: HEAD_LIMIT + 4]).partition(b"\r\n\r\n")
        if complete:
            self._answer(connection, self._respond(head, connection.local))
        elif len(connection.received) > HEAD_LIMIT:
            self._answer(connection, _page(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    def _respond(self, head: bytes, local: bool) -> bytes:
        try:
            method, path, headers = parse(head)
        except BadRequest as error:
            return _page(error.status)
        try:
            status, content_type, body = self._routes(path, headers, local)
        except Exception as error:  # noqa: BLE001 - one page that fails must not end the others
            self._log("error", "http.page_failed", path=path.partition("?")[0], **describe(error))
            return _page(HTTPStatus.INTERNAL_SERVER_ERROR, with_body=method == "GET")
        return _message(status, content_type, body, with_body=method == "GET")

    def _answer(self, connection: Connection, message: bytes) -> None:
        connection.to_send = memoryview(message)
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        assert connection.to_send is not None
        try:
            sent = connection.socket.send(connection.to_send)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        connection.to_send = connection.to_send[sent:]
        if not connection.to_send:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        self._selector.unregister(connection.socket)
        connection.socket.close()


def parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    """
    Take a request's head apart: method, path, headers.

    Raises:
        BadRequest: It is none, or asks for what is not done here.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    match first.split(" "):
        case ["GET" | "HEAD" as method, path, "HTTP/1.1" | "HTTP/1.0"] if path.startswith("/"):
            pairs = (line.partition(":") for line in lines)
            return method, path, {name.strip().lower(): value.strip() for name, _, value in pairs}
        case [_, path, "HTTP/1.1" | "HTTP/1.0"] if path.startswith("/"):
            raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
        case _:
            raise BadRequest(HTTPStatus.BAD_REQUEST)


def _page(status: HTTPStatus, *, with_body: bool = True) -> bytes:
    return _message(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode(), with_body=with_body)


def _message(status: int, content_type: str, body: bytes, *, with_body: bool) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    hint = _HINTS.get(status, "")
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"{hint}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if with_body else b"")
