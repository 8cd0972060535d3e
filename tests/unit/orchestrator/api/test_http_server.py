"""HTTP's server as it ends: what it has accepted is answered, all else is left to others."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
import uvicorn
import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from orchestrator.api import http_protocol
from orchestrator.api.http_protocol import BoundedHttpProtocol
from orchestrator.api.http_server import HttpServer
from orchestrator.api.live import SlowReaderProtocol

REQUEST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab"
CLOSE_FRAME = b"\x88\x82\0\0\0\0\x03\xe8"


class Serving:
    """
    A server of its own in this process' loop.

    Attributes:
        socket: A second descriptor of what it listens on, as other processes have it.
        accepting: Set: a WebSocket is accepted.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.socket = listening.dup()
        self.socket.setblocking(False)
        self.address = listening.getsockname()
        self.accepting = asyncio.Event()
        self._opened: list[asyncio.StreamWriter] = []
        cert, key = tls or (None, None)
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            http=BoundedHttpProtocol,
            ws=SlowReaderProtocol,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=20,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        self.server = HttpServer(config)
        self.ended = asyncio.ensure_future(self.server.serve([listening]))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)
            return
        line = WebSocket(scope, receive, send)
        await self.accepting.wait()
        await line.accept()
        with suppress(Exception):
            await line.receive_text()
            await line.close(1012)

    async def line(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, and wait until that is accepted."""
        before = len(self.server.server_state.connections)
        await until(lambda: self.server.started)
        reader, writer = await asyncio.open_connection(*self.address)
        self._opened.append(writer)
        await until(lambda: len(self.server.server_state.connections) > before)
        return reader, writer

    async def leave(self) -> None:
        """Have it end, up to where nothing but its lines holds it up."""
        self.server.leave()
        await until(lambda: self.server.lines.leaving)

    async def gone(self) -> None:
        async with asyncio.timeout(20):
            await self.ended

    async def close(self) -> None:
        for writer in self._opened:
            writer.transport.abort()
        self.server.hurry()
        await asyncio.gather(self.ended, return_exceptions=True)
        self.socket.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """Read all that still comes."""
    async with asyncio.timeout(20):
        return await reader.read()


def assert_last(answer: bytes) -> None:
    assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close\r\n" in answer and answer.endswith(b"\r\n\r\nab")


def run(test: Callable[[Serving], Awaitable[None]], tls: tuple[str, str] | None = None) -> None:
    """Run *test* with a server, in the loop that API processes have."""

    async def main() -> None:
        serving = Serving(tls)
        try:
            await test(serving)
        finally:
            await serving.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, a test is in time."""
    monkeypatch.setattr(http_protocol, "FIRST_S", 20.0)
    monkeypatch.setattr(http_protocol, "IDLE_S", 20.0)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "FIRST_S", 0.05)
    monkeypatch.setattr(http_protocol, "IDLE_S", 0.05)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    issued = trustme.CA().issue_cert("localhost")
    folder: Path = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    key.write_bytes(issued.private_key_pem.bytes())
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    return str(cert), str(key)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("begun", [0, 1, len(REQUEST) - 1])
def test_a_request_that_comes_on_an_accepted_line_is_answered(begun: int) -> None:
    """However much of it was read before; the line is closed behind it, and nothing else holds the end up."""

    async def test(serving: Serving) -> None:
        reader, writer = await serving.line()
        writer.write(REQUEST[:begun])
        await serving.leave()
        writer.write(REQUEST[begun:])
        assert_last(await answer_of(reader))
        await serving.gone()

    run(test)


@pytest.mark.usefixtures("unhurried")
def test_the_next_request_on_a_line_that_is_kept_is_the_last() -> None:
    """Its client does not know yet that the server ends."""

    async def test(serving: Serving) -> None:
        reader, writer = await serving.line()
        writer.write(REQUEST)
        assert b"connection: close" not in await reader.readuntil(b"\r\n\r\nab")
        await serving.leave()
        writer.write(REQUEST)
        assert_last(await answer_of(reader))
        await serving.gone()

    run(test)


@pytest.mark.usefixtures("unhurried")
def test_a_line_whose_hands_are_being_shaken_is_accepted(certificate: tuple[str, str]) -> None:
    """Over TLS it is none of the server's lines yet."""

    async def test(serving: Serving) -> None:
        state = serving.server.lines
        await until(lambda: serving.server.started)
        raw = socket.create_connection(serving.address)
        await until(lambda: state.coming)
        assert not state.connections
        await serving.leave()
        await asyncio.wait({serving.ended}, timeout=0.5)  # it takes its time
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(sock=raw, ssl=context, server_hostname="localhost")
        writer.write(REQUEST)
        assert_last(await answer_of(reader))
        writer.transport.abort()
        await serving.gone()

    run(test, certificate)


@pytest.mark.usefixtures("hurried")
def test_hands_that_are_never_shaken_are_not_waited_for(certificate: tuple[str, str]) -> None:
    """Beyond the time that a request has on a new line."""

    async def test(serving: Serving) -> None:
        await until(lambda: serving.server.started)
        with socket.create_connection(serving.address):
            await until(lambda: serving.server.lines.coming)
            await serving.leave()
            await serving.gone()

    run(test, certificate)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("used", [False, True])
def test_a_silent_line_is_not_waited_for(used: bool) -> None:
    """New, or kept; what came on it while the loop was busy is read all the same."""

    async def test(serving: Serving) -> None:
        silent, late = await serving.line(), await serving.line()
        if used:
            for reader, writer in (silent, late):
                writer.write(REQUEST)
                await reader.readuntil(b"\r\n\r\nab")
        await serving.leave()
        os.write(late[1].get_extra_info("socket").fileno(), REQUEST)
        time.sleep(0.1)  # the loop does not turn, and then its time is over
        assert_last(await answer_of(late[0]))
        assert await answer_of(silent[0]) == b""
        await serving.gone()

    run(test)


@pytest.mark.usefixtures("unhurried")
def test_what_is_not_accepted_is_left_to_others() -> None:
    """From the moment on in which the server is told to end."""

    async def test(serving: Serving) -> None:
        reader, writer = await serving.line()
        serving.server.leave()
        with socket.create_connection(serving.address) as later:
            later.sendall(REQUEST)
            await until(lambda: serving.server.lines.leaving)
            writer.write(REQUEST)
            assert_last(await answer_of(reader))
            await serving.gone()
            accepted, _ = serving.socket.accept()
            with accepted:
                assert accepted.recv(len(REQUEST)) == REQUEST

    run(test)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("asked", ["before", "after"])
def test_a_websocket_that_is_asked_for_is_accepted(asked: str) -> None:
    """And then told of the end like all others."""

    async def test(serving: Serving) -> None:
        reader, writer = await serving.line()
        request = (
            b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        if asked == "before":
            writer.write(request)
            await until(lambda: serving.server.server_state.tasks)
        await serving.leave()
        if asked == "after":
            writer.write(request)
        serving.accepting.set()
        async with asyncio.timeout(20):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(b"\x81\x80\0\0\0\0")  # an empty text: the application ends
        async with asyncio.timeout(20):
            assert (await reader.readexactly(4))[2:] == (1012).to_bytes(2)
        writer.write(CLOSE_FRAME)
        await serving.gone()

    run(test)


def test_a_websocket_that_is_being_closed_does_not_end_the_process() -> None:
    """By its client, in the moment in which the server ends."""

    async def test(serving: Serving) -> None:
        serving.accepting.set()
        await until(lambda: serving.server.started)
        async with connect(f"ws://127.0.0.1:{serving.address[1]}") as line:
            (protocol,) = serving.server.server_state.connections
            assert isinstance(protocol, SlowReaderProtocol)
            protocol.data_received(CLOSE_FRAME)
            protocol.shutdown()
            with pytest.raises(ConnectionClosed):
                await line.recv()
        await serving.leave()
        await serving.gone()

    run(test)
