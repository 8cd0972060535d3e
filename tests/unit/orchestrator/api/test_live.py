"""Readers that go while their events are sent: nothing of them stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from executor_worker.telemetry.tracing import NO_TRACING
from orchestrator.api import live
from orchestrator.api.live import EventSocket, EventStream
from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc.calls import Calls
from orchestrator.service.access import ANYBODY
from orchestrator.shown import Batch, Shown

EVENT = Batch(
    [Shown(1, "graph.started", "", "1-0000", b'id: 1\nevent: x\ndata: {"graph_id":"g","timestamp":"t","data":{}}\n\n')]
)


class Feeds:
    """
    A feed that shows one event and then nothing.

    Attributes:
        lost: Whether it loses the first cancellation, as Python 3.11's `wait_for` may.
        waiting: Its reader has all that there is.
        closed: It was closed by then.
    """

    def __init__(self, lost: bool = False) -> None:
        self.lost = lost
        self.waiting = asyncio.Event()
        self.closed = False

    async def follow(self, *_: Any) -> AsyncGenerator[Batch]:
        try:
            yield EVENT
            self.waiting.set()
            if self.lost:
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.closed = True


class Reader:
    """A client of an ASGI application that goes when it is told to."""

    def __init__(self, kind: str) -> None:
        self.gone = asyncio.Event()
        self._first = kind == "websocket"
        self._kind = kind
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._first:
            self._first = False
            return {"type": "websocket.connect"}
        await self.gone.wait()
        return {"type": f"{self._kind}.disconnect", "code": 1006}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def scope(self) -> dict[str, Any]:
        return {
            "type": self._kind, "method": "GET", "path": "/", "headers": [], "query_string": b"", "client": None,
            "path_params": {"id": "g"},
        }  # fmt: skip


def service_of(feeds: Feeds) -> Any:
    readers = [0]

    def subscribed(change: int) -> None:
        readers[0] += change

    access = SimpleNamespace(enter=lambda *_: ANYBODY)
    meter = SimpleNamespace(subscribed=subscribed)
    return SimpleNamespace(feeds=feeds, access=access, meter=meter, tracing=NO_TRACING, readers=readers)


async def serve(kind: str, service: Any, reader: Reader) -> None:
    if kind == "websocket":
        await EventSocket(service)(reader.scope(), reader.receive, reader.send)
    else:
        request = Request({**reader.scope(), "type": "http"})
        await EventStream(service, service.feeds.follow(), request)(reader.scope(), reader.receive, reader.send)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_reader_that_was_not_told_the_first_time_is_told_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has gone, and what serves it did not hear of it: until it has, it is told."""
    monkeypatch.setattr(live, "TOLD_AGAIN_S", 0.01)

    async def main() -> None:
        service, reader = service_of(Feeds(lost=True)), Reader(kind)
        serving = asyncio.ensure_future(serve(kind, service, reader))
        await service.feeds.waiting.wait()
        reader.gone.set()
        await asyncio.wait({serving}, timeout=10)
        assert serving.done() and serving.exception() is None
        assert service.feeds.closed and service.readers == [0]

    asyncio.run(main())


def test_a_feed_is_closed_before_its_websocket_has_gone() -> None:
    """Also if it is cut off in the midst of an event."""

    async def main() -> None:
        service, reader = service_of(Feeds()), Reader("websocket")
        sending = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"] == "websocket.send":
                sending.set()
                await asyncio.Event().wait()

        serving = asyncio.ensure_future(EventSocket(service)(reader.scope(), reader.receive, send))
        await sending.wait()
        reader.gone.set()
        async with asyncio.timeout(10):
            await serving
        assert service.feeds.closed

    asyncio.run(main())


def test_a_feed_is_closed_before_its_call_has_ended() -> None:
    """Over gRPC: cancelled while an event is written."""

    async def main() -> None:
        service = service_of(Feeds())
        writing = asyncio.Event()

        async def write(_: Any) -> None:
            writing.set()
            await asyncio.Event().wait()

        context = SimpleNamespace(invocation_metadata=lambda: (), peer=lambda: "ipv4:127.0.0.1:1", write=write)
        calls = Calls(service, lambda *_: None)
        call = asyncio.ensure_future(calls.StreamGraphEvents(messages.StreamGraphEventsRequest(graph_id="g"), context))
        await writing.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert service.feeds.closed and service.readers == [0]

    asyncio.run(main())
