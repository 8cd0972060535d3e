"""Who listens to all runs for all readers: with the last of them it leaves, also if it was not told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Any

import pytest

from orchestrator import all_events
from orchestrator.all_events import AllEvents


class Client:
    """Redis, with no events."""

    async def ask(self, _: Any) -> list[Any]:
        return [[]]


class Line:
    """A connection that loses a cancellation, as Python 3.11's `wait_for` may: its answer comes in the same moment."""

    asked: asyncio.Event
    closed = False

    def __init__(self, _: Any) -> None:
        Line.asked = asyncio.Event()
        Line.closed = False

    async def ask(self, *_: Any, **__: Any) -> list[Any]:
        Line.asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return [[b"graph.events", [(b"7-0", [b"data", b'{"type":"graph.started"}'])]]]

    async def close(self) -> None:
        Line.closed = True


def test_a_listener_that_nobody_needs_leaves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told in the moment in which it had its answer, and did not hear of it; it takes nothing from the next."""
    monkeypatch.setattr(all_events, "OwnLine", Line)

    async def read(events: AllEvents) -> None:
        async with aclosing(events.follow((0, 0))) as batches:
            async for _ in batches:
                pass

    async def main() -> None:
        client: Any = Client()
        events, before = AllEvents(client, asyncio.Event()), asyncio.all_tasks()
        reading = asyncio.ensure_future(read(events))
        while not hasattr(Line, "asked"):
            await asyncio.sleep(0)
        await Line.asked.wait()
        reading.cancel()
        await asyncio.wait({reading}, timeout=10)
        left = asyncio.all_tasks() - before
        if left:
            await asyncio.wait(left, timeout=10)
        assert not asyncio.all_tasks() - before
        assert Line.closed and not events._kept

    asyncio.run(main())
