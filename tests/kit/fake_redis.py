"""
fakeredis behind our own link: no server, no socket of the network, scripts run by Lua in this process.

What it lacks is filled in here (`redis.sha1hex`, the line `#!lua`); what it answers otherwise than a server
stands in `DIFFERENCES`, each line with a test in `tests/unit/executor_worker/broker/test_fake_redis.py`.
"""

from __future__ import annotations

import hashlib
import socket
from typing import Any

import fakeredis
import redis
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis._socket import FakeSocket

from executor_worker.broker import Endpoint, Link

DIFFERENCES = {
    "blocking": "a blocking read ends at once, empty: nobody in this process could end it",
    "oom": "memory is never full: `#!lua` flags are not looked at",
}


class FakeRedis:
    """One server in this process, empty."""

    kind = "fake"

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer(version=(7, 0))

    def client(self) -> redis.Redis:
        """Make a plain client of it: what tests look with."""
        return fakeredis.FakeRedis(server=self._server)

    def link(self, **options: Any) -> Link:
        """Make a link of ours to it."""
        link = Link(Endpoint.parse("unix:///fakeredis"), **options)
        link._dialler = self  # type: ignore[assignment]
        return link

    def dial(self) -> socket.socket:
        """Open one connection, as `Dialler` does."""
        return _Line(self._server)  # type: ignore[return-value]

    def close(self) -> None:
        """Nothing was started."""


class _Lua:
    """A Lua runtime that takes a script with a `#!lua` line."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def execute(self, script: bytes | str) -> Any:
        if isinstance(script, str):
            return None  # fakeredis' own: it would collect all garbage after each script
        return self._runtime.execute(b"--" + script if script.startswith(b"#!") else script)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


class _Connection(FakeSocket):
    """A connection's end at the server; what it answers goes to *line*."""

    def __init__(self, line: _Line, server: fakeredis.FakeServer) -> None:
        super().__init__(server, 0, client_class=redis.Redis)
        self._line = line

    def put_response(self, msg: Any) -> None:
        self._line.answer(_encoded(msg))

    def _decode_error(self, error: Any) -> Any:
        return _Answered(error.value)  # whole, with the word it begins with

    def _lua_redis_call(self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any) -> Any:
        reply = super()._lua_redis_call(lua_runtime, expected_globals, op, *args)
        if op == b"HRANDFIELD" and len(args) > 1 and reply is False:
            return lua_runtime.table_from([])  # a list was asked for, of a hash that is not there
        return reply

    def _lua_redis_pcall(self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any) -> Any:
        try:
            return self._lua_redis_call(lua_runtime, expected_globals, op, *args)
        except SimpleError as error:
            return lua_runtime.table_from({b"err": _as_server(op, error.value).encode()})  # fakeredis': no string

    def _blocking(self, timeout: float | None, func: Any, shape: Any = None) -> Any:  # DIFFERENCES["blocking"]
        reply = func(True)
        return reply if shape is None else shape(reply)

    def _get_server_runtime(self, server: Any) -> Any:
        runtime = super()._get_server_runtime(server)
        if not hasattr(server, "_ours"):
            server._ours = _Lua(runtime)
            runtime.globals()[b"error"] = _raise
            runtime.globals()[b"redis"][b"sha1hex"] = lambda text: (
                hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
            )
        return server._ours


def _raise(error: Any) -> None:
    """End the script with *error*: a text, or a reply of `redis.pcall`."""
    raise SimpleError((error if isinstance(error, bytes) else error[b"err"]).decode())


def _as_server(command: bytes, error: str) -> str:
    """Say *error* as a server does: who reads a stream that is not there lacks its group."""
    if command in (b"XREADGROUP", b"XPENDING", b"XCLAIM", b"XAUTOCLAIM") and "requires the key to exist" in error:
        return "NOGROUP No such key or consumer group"
    return error


class _Answered(Exception):
    """An error reply."""


class _Line:
    """As much of a socket as a link uses; both ends are here."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._waiting = bytearray()  # what the pair has no room for yet
        self._connection = _Connection(self, server)

    def sendall(self, packed: bytes) -> None:
        self._connection.sendall(packed)

    def answer(self, packed: bytes) -> None:
        """Take what the server says; it is read by `recv_into`."""
        self._waiting += packed
        self._push()

    def recv_into(self, buffer: bytearray) -> int:
        self._push()
        return self._ours.recv_into(buffer)

    def fileno(self) -> int:
        return self._ours.fileno()

    def settimeout(self, seconds: float | None) -> None:
        self._ours.settimeout(seconds)

    def close(self) -> None:
        self._connection.close()
        self._ours.close()
        self._theirs.close()

    def _push(self) -> None:
        try:
            del self._waiting[: self._theirs.send(self._waiting)]
        except BlockingIOError:
            return


def _encoded(reply: Any) -> bytes:
    """Spell *reply* as the protocol (version 2) does."""
    match reply:
        case None:
            return b"$-1\r\n"
        case SimpleString():
            return b"+%b\r\n" % reply.value
        case Exception():
            return b"-%b\r\n" % " ".join(str(reply).split()).encode()
        case bool() | int():
            return b":%d\r\n" % reply
        case float():
            return _encoded(repr(reply).encode())
        case str():
            return _encoded(reply.encode())
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list() | tuple():
            return b"*%d\r\n" % len(reply) + b"".join(map(_encoded, reply))
    raise TypeError(f"no reply of Redis: {type(reply)}")
