"""MCP over HTTP: Streamable HTTP by the SDK, the older SSE by ourselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from ssl import SSLContext
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
from anyio.abc import TaskStatus
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from executor_worker.settings.proxies import proxy_for
from executor_worker.tools.mcp.encoding import mended_lines
from executor_worker.tools.mcp.wire import (
    FLIGHT,
    LARGEST_MESSAGE,
    ConnectionLost,
    Outgoing,
    Writer,
    deliver,
    incoming,
)
from executor_worker.tools.mcp_config import Remote

_CONNECT_SECONDS = 5.0
_WRITE_SECONDS = 30.0

OnStatus = Callable[[int], None]


@cache
def ssl_context() -> SSLContext:
    """The trusted certificates, loaded once: before forking, as that takes 50 ms."""
    return httpx2.create_ssl_context()


@asynccontextmanager
async def streamable_http(remote: Remote, on_status: OnStatus) -> AsyncIterator[Any]:
    """Connect by Streamable HTTP."""
    async with (
        _client(remote, on_status) as client,
        streamable_http_client(remote.url, http_client=client, max_sse_event_size=LARGEST_MESSAGE) as streams,
    ):
        yield streams


@asynccontextmanager
async def sse(remote: Remote, on_status: OnStatus) -> AsyncIterator[Any]:
    """
    Connect by SSE.

    Not the SDK's client: that one takes events up to 1 MiB only, gives a quiet connection up after
    five minutes, and leaves a call waiting whose request could not be posted.
    """
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    async with (
        _client(remote, on_status, by_sse=True) as client,
        client.stream("GET", remote.url, headers=headers) as response,
    ):
        response.raise_for_status()
        outgoing = _Posts(client)
        writer, reader = incoming()
        async with writer, reader, anyio.create_task_group() as tasks:
            await tasks.start(_receive, remote.url, response, outgoing, writer)
            yield reader, outgoing
            tasks.cancel_scope.cancel()


def _client(remote: Remote, on_status: OnStatus, *, by_sse: bool = False) -> httpx2.AsyncClient:
    async def trace_sending(request: httpx2.Request) -> None:
        flight = FLIGHT.get()

        async def trace(event: str, info: Any) -> None:
            if flight is not None and event.endswith("send_request_headers.started"):
                flight.sent = True

        if flight is not None and request.method == "POST":
            request.extensions = {**request.extensions, "trace": trace}

    async def note_status(response: httpx2.Response) -> None:
        flight = FLIGHT.get()
        if flight is not None and response.request.method == "POST":
            flight.status = response.status_code
        if response.request.method == ("GET" if by_sse else "POST"):  # else it says nothing of the transport
            on_status(response.status_code)
        as_it_came = response.aiter_bytes
        response.aiter_bytes = lambda chunk_size=None: mended_lines(  # type: ignore[method-assign]
            as_it_came(chunk_size), LARGEST_MESSAGE
        )

    return httpx2.AsyncClient(
        headers=dict(remote.headers),
        # Calls are limited by their callers; a connection may be quiet for as long as it likes.
        timeout=httpx2.Timeout(_CONNECT_SECONDS, read=None, write=_WRITE_SECONDS),
        verify=ssl_context(),  # plain http too: the SDK follows a redirect to https on the same host
        event_hooks={"request": [trace_sending], "response": [note_status]},
        proxy=proxy_for(remote.url),
        trust_env=False,  # it would fail by proxies for others than this server
    )


class _Posts(Outgoing):
    """The sending side of an SSE server: one POST for each message, to the address it named."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        super().__init__()
        self._client = client
        self.endpoint = ""

    async def _transmit(self, item: SessionMessage) -> None:
        body = item.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        try:
            response = await self._client.post(self.endpoint, json=body)
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise anyio.BrokenResourceError from error


async def _receive(
    url: str,
    response: httpx2.Response,
    outgoing: _Posts,
    writer: Writer,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    events = httpx2.EventSource(response, max_event_size=LARGEST_MESSAGE)
    async for event in events:
        if event.event == "endpoint":
            outgoing.endpoint = _same_origin(url, urljoin(url, event.data))
            task_status.started()
        elif event.event == "message" and event.data:
            message = outgoing.read(event.data)
            if message is not None:
                await deliver(writer, message)
    raise ConnectionLost("the server ended the connection", "the server ended the connection")


def _same_origin(url: str, endpoint: str) -> str:
    if urlsplit(url)[:2] != urlsplit(endpoint)[:2]:
        problem = "the server named an address on another host for its messages"
        raise ConnectionLost(problem, problem)
    return endpoint
