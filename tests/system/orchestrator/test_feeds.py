"""Readers of a run's feed that come and go, beside one that stays."""

from __future__ import annotations

import asyncio

import pytest

from executor_worker.broker import Endpoint
from executor_worker.broker.connection.asynchronous import connect
from executor_worker.broker.names import live_channel
from orchestrator.events import Feeds
from tests.kit import RedisServer

RUN = "01938a5c-1f5e-7c44-9d1e-2c6fd2b7a000"


def test_a_reader_leaves_whenever_it_is_told_to(redis_server: RedisServer) -> None:
    """Wherever it is on its way: what it waits for may have come just then."""

    async def never() -> bool:
        return False

    async def watch() -> None:
        client = connect(Endpoint.parse(redis_server.unix_url), "feeds")
        feeds = Feeds(client, asyncio.Event())
        try:
            for steps in range(60):
                leaving = asyncio.ensure_future(feeds.wait(f"{RUN}{steps}", never, 60))
                for _ in range(steps):
                    await asyncio.sleep(0)
                leaving.cancel()
                await asyncio.wait({leaving}, timeout=10)
                assert leaving.cancelled(), f"after {steps} steps"
        finally:
            await feeds.close()
            await client.aclose()

    asyncio.run(watch())


def test_a_reader_that_leaves_while_it_comes_breaks_nothing_off(redis_server: RedisServer) -> None:
    """All readers are told over one connection, which stays whatever a reader is just having said over it."""

    async def never() -> bool:
        return False

    async def watch() -> None:
        client = connect(Endpoint.parse(redis_server.unix_url), "feeds")
        feeds, begun = Feeds(client, asyncio.Event()), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def begins() -> bool:
            begun.set()
            return False

        def leave_after(leaving: asyncio.Task[None], steps: int) -> None:
            if steps:
                loop.call_soon(leave_after, leaving, steps - 1)
            else:
                leaving.cancel()

        def listening() -> list[str]:
            with redis_server.client() as db:
                return [one["id"] for one in db.client_list() if int(one["sub"])]

        staying = asyncio.ensure_future(feeds.wait(RUN, begins, 60))
        try:
            await begun.wait()
            before = listening()
            for steps in range(20):
                leaving = asyncio.ensure_future(feeds.wait(f"{RUN}{steps}", never, 60))
                loop.call_soon(leave_after, leaving, steps)
                await asyncio.wait({leaving}, timeout=10)
                assert leaving.cancelled(), f"after {steps} steps"
            assert listening() == before != []
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
            await feeds.close()
            await client.aclose()

    asyncio.run(watch())


def test_a_reader_that_leaves_while_it_comes_takes_nothing_from_the_others(redis_server: RedisServer) -> None:
    """What it had not yet begun to listen to is not left: who stays goes on being told."""

    async def never() -> bool:
        return False

    async def come_and_go(feeds: Feeds) -> None:
        leaving = asyncio.ensure_future(feeds.wait(RUN, never, 10))
        await asyncio.sleep(0)  # it has begun, and not got far
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

    async def watch() -> None:
        client = connect(Endpoint.parse(redis_server.unix_url), "feeds")
        feeds, looks = Feeds(client, asyncio.Event()), asyncio.Queue[None]()

        async def look() -> bool:
            looks.put_nowait(None)
            return False

        staying = asyncio.ensure_future(feeds.wait(RUN, look, 60))
        try:
            await looks.get()
            for _ in range(3):
                await come_and_go(feeds)
            with redis_server.client() as db:
                assert db.publish(live_channel(RUN), "2") == 1
            async with asyncio.timeout(10):  # far below what it takes to look unasked
                await looks.get()
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
            await feeds.close()
            await client.aclose()

    asyncio.run(watch())
