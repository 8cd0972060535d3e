"""The line of HTTP: how long it waits for a request's head."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from orchestrator.api import http_protocol
from orchestrator.api.http_protocol import BoundedHttpProtocol, Lines

SHORT_S = 0.1
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
    body = await Request(scope, receive).body()
    if scope["path"] == "/later":
        await asyncio.sleep(4 * SHORT_S)
    await PlainTextResponse(body)(scope, receive, send)


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Talk], None]:
    """Talk to a server that gives a head a short time."""
    monkeypatch.setattr(http_protocol, "HEAD_S", SHORT_S)

    def talked(to: Talk) -> None:
        async def main() -> None:
            config = uvicorn.Config(echo, lifespan="off", log_config=None)
            config.load()
            state = Lines()
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: BoundedHttpProtocol(config, state, {}), "127.0.0.1", 0)
            async with server:
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
