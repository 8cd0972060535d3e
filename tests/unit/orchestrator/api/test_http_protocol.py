"""The line of HTTP: how long it waits for a request's head."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

import psutil
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from orchestrator.api import http_protocol
from orchestrator.api.http_protocol import BoundedHttpProtocol, Lines
from tests.kit.paths import ROOT

SHORT_S = 0.1
CHUNK = b"x" * 100_000
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await asyncio.sleep(4 * SHORT_S)
        await send({"type": "websocket.send", "text": "there"})
        return
    if scope["path"] == "/parts":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await receive(), await receive()  # until it has gone
        return
    if scope["path"] == "/killed":
        await send({"type": "http.response.start", "status": 200})
        os.kill(os.getpid(), signal.SIGKILL)
    if scope["path"] == "/refused":
        await send({"type": "http.response.start", "status": 200})
        (line,) = scope["state"]["lines"].connections
        line.send_400_response("")
        return
    if scope["path"] == "/event":
        await send({"type": "http.response.start", "status": 200})
        await receive(), await receive()  # no event comes, until it has gone
        return
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200})
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        return
    body = await Request(scope, receive).body()
    if scope["path"] == "/later":
        await asyncio.sleep(4 * SHORT_S)
    await PlainTextResponse(body)(scope, receive, send)


KILLED = """
import asyncio
from tests.unit.orchestrator.api.test_http_protocol import serving

async def main():
    server = await serving()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


async def serving() -> asyncio.Server:
    """Serve `echo` on a free port."""
    config = uvicorn.Config(echo, lifespan="off", log_config=None)
    config.load()
    state, loop = Lines(), asyncio.get_running_loop()
    return await loop.create_server(lambda: BoundedHttpProtocol(config, state, {"lines": state}), "127.0.0.1", 0)


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Talk], None]:
    """Talk to a server that gives a head a short time."""
    monkeypatch.setattr(http_protocol, "HEAD_S", SHORT_S)

    def talked(to: Talk) -> None:
        async def main() -> None:
            async with await serving() as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                async with asyncio.timeout(20):
                    await to(reader, writer)
                writer.close()

        asyncio.run(main())

    return talked


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"G", b"GET /", b"POST / HTTP/1.1\r\nContent-Length: 2\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(talk: Callable[[Talk], None], begun: bytes) -> None:
    """On a new line, and after a request."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        assert await reader.read() == b""

    async def silent_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(begun)
        assert await reader.read() == b""

    talk(silent)
    if begun:  # else the line is kept for the next request, as long as such are
        talk(silent_later)


def test_an_answer_is_not_cut_off_for_the_next_head(talk: Callable[[Talk], None]) -> None:
    """Which has begun while it is made; its time is up only behind it."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")

    talk(early)


def test_no_answer_is_laid_into_another(talk: Callable[[Talk], None]) -> None:
    """What is broken comes behind two requests, of which the first is being answered: the line is closed."""
    request = b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n"

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request)
        await reader.readuntil(b"first")
        writer.write(request + b"broken\r\n\r\n")
        assert b"HTTP/1.1" not in await reader.read()

    talk(broken)


def test_a_websocket_has_no_head_to_wait_for(talk: Callable[[Talk], None]) -> None:
    """Also one on a line that has had an answer."""
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(upgrade)
        await reader.readuntil(b"there")

    talk(quiet)


def test_bodies_and_next_requests_have_their_time(talk: Callable[[Talk], None]) -> None:
    """It is the head alone that is hurried, and those that follow a body in chunks are none."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunked = (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"2\r\nab\r\n0\r\nT: t",
            b"\r\n\r\n",
        )
        sized = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", b"a", b"b"
        for parts in (chunked, sized):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0 if part == b"2\r\nab\r\n0\r\nT: t" else 2 * SHORT_S)
            assert (await reader.readuntil(b"\r\n\r\nab")).startswith(b"HTTP/1.1 200 ")

    talk(slow)


def test_no_head_goes_ahead_of_its_body() -> None:
    """A server that is killed between the two has sent nothing: a proxy can still ask another one."""
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with socket.create_connection(("127.0.0.1", int(server.stdout.readline())), 20) as line:
            line.sendall(b"GET /killed HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not line.recv(1000)
        assert server.wait(20) == -signal.SIGKILL


def test_the_head_of_a_stream_does_not_wait_for_an_event(talk: Callable[[Talk], None]) -> None:
    """Whoever reads events knows at once that it is being told them."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /event HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    talk(listen)


def test_what_was_written_comes_before_a_refusal_closes_the_line(talk: Callable[[Talk], None]) -> None:
    """Also a head that still waited for its body."""

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /refused HTTP/1.1\r\nHost: x\r\n\r\n")
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 200 ") and said.count(b"HTTP/1.1") == 1

    talk(broken)


def test_who_does_not_read_is_not_written_for(talk: Callable[[Talk], None]) -> None:
    """A gigabyte for one that takes nothing waits where it is made."""

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before = psutil.Process().memory_info().rss
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(4 * SHORT_S)
        assert psutil.Process().memory_info().rss - before < 100e6

    talk(idle)
