"""A TCP proxy that treats its connections badly: for timeouts, lost replies and half-open connections."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

CHUNK = 65536


class Proxy:
    """
    Forward 127.0.0.1:`port` to *host*:*port*, byte by byte, in one thread of its own.

    Attributes:
        delay: Seconds each chunk waits, in both directions.
        black_hole: Accept and read, forward nothing, in both directions.
        lose_replies: Forward what the client says, swallow what the server answers.
        refuse: Reset new connections at once.
        on_request: Called with each chunk from a client before it is forwarded; may change the switches above,
            e.g. to lose exactly the reply to one command.
        on_reply: The same for each chunk from the server.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.target = (host, port)
        self.delay = 0.0
        self.black_hole = False
        self.lose_replies = False
        self.refuse = False
        self.on_request: Callable[[bytes], None] = lambda _: None
        self.on_reply: Callable[[bytes], None] = lambda _: None
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._event_fd, self._ring = socket.socketpair()
        self._selector.register(self._event_fd, selectors.EVENT_READ)
        self._requests: list[Callable[[], None]] = []
        self._done = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every open connection (RST), as a crashed host would."""
        self._ask(self._reset_all)

    def half_close(self) -> None:
        """Tell every client that no more will come, and go on listening to them."""
        self._ask(self._half_close_all)

    def connections(self) -> int:
        """Count the clients that are connected now."""
        return len(self._clients)

    def close(self) -> None:
        """Close everything and end the thread."""
        self._stopping = True
        with suppress(OSError):  # it was awake, has seen it and is gone
            self._ring.send(b"!")
        self._thread.join(10)

    def _ask(self, request: Callable[[], None]) -> None:
        """Have the thread do it and wait until it is done; within a hook we are that thread already."""
        if threading.current_thread() is self._thread:
            request()
            return
        with self._done:
            self._requests.append(request)
            self._ring.send(b"!")
            assert self._done.wait_for(lambda: request not in self._requests, 10), "the proxy's thread does not answer"

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                self._serve(key.fileobj)  # type: ignore[arg-type]
        for side in [*self._peers, self._listener, self._event_fd, self._ring]:
            side.close()
        self._selector.close()

    def _serve(self, readable: socket.socket) -> None:
        if readable is self._event_fd:
            self._event_fd.recv(CHUNK)
            with self._done:
                for request in list(self._requests):
                    request()
                    self._requests.remove(request)
                self._done.notify_all()
        elif readable is self._listener:
            self._accept()
        elif readable in self._peers:
            self._forward(readable)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        if self.refuse:
            reset(client)
            return
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            reset(client)
            return
        server.settimeout(None)
        self._clients.add(client)
        for side, other in ((client, server), (server, client)):
            self._peers[side] = other
            self._selector.register(side, selectors.EVENT_READ)

    def _forward(self, side: socket.socket) -> None:
        try:
            chunk = side.recv(CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(side)
            return
        from_client = side in self._clients
        (self.on_request if from_client else self.on_reply)(chunk)
        if side not in self._peers or self.black_hole or (self.lose_replies and not from_client):
            return
        if self.delay:
            time.sleep(self.delay)
        with suppress(OSError):  # the next read finds that it is gone
            self._peers[side].sendall(chunk)

    def _drop(self, side: socket.socket) -> None:
        for one in (side, self._peers[side]):
            self._forget(one)
            one.close()

    def _forget(self, side: socket.socket) -> None:
        self._selector.unregister(side)
        self._clients.discard(side)
        del self._peers[side]

    def _reset_all(self) -> None:
        for side in list(self._peers):
            self._forget(side)
            reset(side)

    def _half_close_all(self) -> None:
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket) -> None:
    """Close a connection by RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
