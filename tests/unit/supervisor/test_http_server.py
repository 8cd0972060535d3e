"""The keeper's HTTP server, and clients that are slow, silent or rude."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from supervisor.event_log import EventLog
from supervisor.keeper import http_server
from supervisor.keeper.http_server import HttpServer
from supervisor.keeper.loopback import is_loopback
from tests.kit import wait_until


class Served:
    """A server that turns in a thread until the test ends."""

    def __init__(self) -> None:
        self.accepting = True
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        log = EventLog(lambda level, event, fields: self.lines.append((event, fields)))
        self.server = HttpServer(self.listener, self.answer, log, lambda: self.accepting)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    def answer(self, path: str, headers: Mapping[str, str], local: bool) -> tuple[int, str, bytes]:
        if path.startswith("/boom"):
            raise RuntimeError("secret")
        if path == "/big":
            return 200, "text/plain", b"x" * 10_000_000
        return 200, "application/json", json.dumps({"path": path, "agent": headers.get("user-agent")}).encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=60)

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def close(self) -> None:
        self._ending.set()
        self._thread.join(60)
        self.server.close()
        self.listener.close()

    def _turn(self) -> None:
        self.listener.setblocking(False)
        while not self._ending.is_set():
            self.server.turn(0.02)


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def test_get_is_answered(served: Served) -> None:
    """Path with query and headers go in, status, type and body come out, and the connection is closed."""
    head, _, body = served.ask(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    assert b"\r\nConnection: close" in head
    assert json.loads(body) == {"path": "/a?b=c", "agent": "me"}


def test_head_has_no_body(served: Served) -> None:
    """HEAD says how long the body would be."""
    head, _, body = served.ask(b"HEAD / HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: 28" in head
    assert body == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"GET / SPDY/1\r\n\r\n", 400),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /boom HTTP/1.1\r\n\r\n", 500),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, 431),
    ],
)
def test_what_is_not_served_gets_its_status(served: Served, request_: bytes, status: int) -> None:
    """Every kind of nonsense has an answer, and the server goes on."""
    assert served.ask(request_).startswith(f"HTTP/1.1 {status} ".encode())
    assert served.ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_page_that_fails_is_logged_without_its_words(served: Served) -> None:
    """The log names the error and the place."""
    served.ask(b"GET /boom?key=secret HTTP/1.1\r\n\r\n")
    [(event, fields)] = served.lines
    assert (event, fields["path"], fields["error"]) == ("http.page_failed", "/boom", "RuntimeError")
    assert "secret" not in str(fields)


def test_request_in_pieces_and_slow_reader_hold_nobody_up(served: Served) -> None:
    """While one client dawdles, others are served."""
    with served.connect() as slow, served.connect() as reader:
        slow.sendall(b"GET / HT")
        reader.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert served.ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
        slow.sendall(b"TP/1.1\r\n\r\n")
        assert read_all(slow).startswith(b"HTTP/1.1 200")
        assert len(read_all(reader)) > 10_000_000


def test_silent_clients_are_dropped_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing is asked is closed."""
    monkeypatch.setattr(http_server, "TIMEOUT_S", 0.1)
    with served.connect() as silent:
        assert read_all(silent) == b""


def test_crowd_of_silent_clients_shuts_nobody_out(served: Served) -> None:
    """With all places taken, the oldest connection makes room."""
    crowd = [served.connect() for _ in range(http_server.CONNECTIONS + 10)]
    assert served.ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    for client in crowd:
        client.close()


def test_client_that_is_gone_does_no_harm(served: Served) -> None:
    """Reset in mid-request or in mid-answer: the next one is served."""
    for request in (b"GET", b"GET /big HTTP/1.1\r\n\r\n"):
        client = served.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(request)
        client.close()
    assert served.ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_superseded_server_leaves_new_connections_to_others(served: Served) -> None:
    """While it is not accepting, a connection waits in the queue for whoever does."""
    served.accepting = False
    answer: Callable[[], bytes] = lambda: served.ask(b"GET / HTTP/1.1\r\n\r\n")  # noqa: E731
    wait_until(lambda: served.server._listening is False, 2, "the server to stop accepting")
    waiting: list[bytes] = []
    client = threading.Thread(target=lambda: waiting.append(answer()))
    client.start()
    client.join(0.2)
    assert client.is_alive()
    served.accepting = True
    client.join(60)
    assert waiting[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        *(("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True)),
        *(("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False), ("", False)),
    ],
)
def test_who_is_on_this_machine(address: str, local: bool) -> None:
    """By the address that the kernel says, never by a header."""
    assert is_loopback((address, 1)) is local
