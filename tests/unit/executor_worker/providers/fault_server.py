"""A model server with odd faults, on a real port: it replies as it is told, one reply a request."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler"], None]


class FaultServer:
    """
    Attributes:
        requests: The JSON bodies received, in order.
        released: Set at the end; replies that hang wait for it.
        gone: Set when a client was seen to leave in mid-reply.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        self.gone = threading.Event()
        owner = self

        class Bound(Handler):
            server_state = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._http.daemon_threads = True
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.002})
        self._thread.start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_port}"

    def will(self, *replies: Reply) -> None:
        """Give these replies next; the last one for ever."""
        self.replies = list(replies)

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    server_state: FaultServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        state = self.server_state
        self.body: dict[str, Any] = json.loads(body or b"{}")
        state.requests.append(self.body)
        state.headers.append({key.lower(): value for key, value in self.headers.items()})
        reply = state.replies.pop(0) if len(state.replies) > 1 else state.replies[0]
        try:
            reply(self)
        except (BrokenPipeError, ConnectionResetError):
            state.gone.set()
            self.close_connection = True

    do_GET = do_POST  # noqa: N815 -- the base class looks it up by this name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as in the base class
        """Stay quiet."""

    def begin(self, status: int, content_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def say(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()


def by_model(replies: Mapping[str, Sequence[Reply]]) -> Reply:
    """Give each model replies of its own, one a request; the last one for ever."""
    left = {model: list(mine) for model, mine in replies.items()}

    def reply(handler: Handler) -> None:
        mine = left[handler.body["model"]]
        (mine.pop(0) if len(mine) > 1 else mine[0])(handler)

    return reply


def page(status: int, text: str, content_type: str = "application/json", **headers: str) -> Reply:
    """Answer with *text*; underscores in the headers' names stand for hyphens."""

    def reply(handler: Handler) -> None:
        handler.begin(status, content_type, **headers)
        handler.say(text)

    return reply


def failure(status: int, kind: str = "api_error", message: str = "injected", **headers: str) -> Reply:
    """Answer with an error as both APIs shape it."""
    body = {"type": "error", "error": {"type": kind, "message": message, "code": None}}
    return page(status, json.dumps(body), **headers)


def stream(*events: str) -> Reply:
    """Stream *events* and end cleanly."""
    return page(200, "".join(events), "text/event-stream")


def cut(*events: str) -> Reply:
    """Promise more in chunked encoding than is sent, then reset the connection."""

    def reply(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        data = "".join(events).encode()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        handler.wfile.flush()
        handler.close_connection = True

    return reply


def reset() -> Reply:
    """Reset the connection before saying anything."""

    def reply(handler: Handler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True

    return reply


def hang(*events: str) -> Reply:
    """Stream *events*, then say nothing more."""

    def reply(handler: Handler) -> None:
        handler.begin(200, "text/event-stream")
        handler.say("".join(events))
        handler.server_state.released.wait(20)

    return reply


def mute() -> Reply:
    """Accept the request and never answer."""

    def reply(handler: Handler) -> None:
        handler.server_state.released.wait(20)
        handler.close_connection = True

    return reply


def slow(pause_s: float, *events: str) -> Reply:
    """Stream *events* with a pause before each."""

    def reply(handler: Handler) -> None:
        handler.begin(200, "text/event-stream")
        for event in events:
            handler.server_state.released.wait(pause_s)
            handler.say(event)

    return reply


def trickle(event: str, every_s: float, *first: str) -> Reply:
    """Stream *first*, then *event* again and again until the client leaves."""

    def reply(handler: Handler) -> None:
        handler.begin(200, "text/event-stream")
        handler.say("".join(first))
        while not handler.server_state.released.wait(every_s):
            handler.say(event)

    return reply
