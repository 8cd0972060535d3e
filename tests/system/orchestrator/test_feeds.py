"""Readers of feeds that come and go, whenever that is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest

from executor_worker.broker import Endpoint
from executor_worker.broker.connection.asynchronous import Subscriptions, connect
from executor_worker.broker.names import live_channel
from orchestrator.all_events import AllEvents
from orchestrator.events import Feeds
from tests.kit import RedisServer

RUN = "01938a5c-1f5e-7c44-9d1e-2c6fd2b7a000"

STEPS = 40  # of the loop, more than a reader takes until it waits for news


async def never() -> bool:
    return False


async def steps(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@asynccontextmanager
async def beside_one_who_stays(
    server: RedisServer, looks: Callable[[], Awaitable[bool]] = never
) -> AsyncIterator[tuple[Feeds, asyncio.Future[None]]]:
    """Feeds of which somebody waits for news of `RUN`, and who that is; its channel is listened to by now."""
    client = connect(Endpoint.parse(server.unix_url), "feeds")
    feeds = Feeds(client, asyncio.Event())
    staying = asyncio.ensure_future(feeds.wait(RUN, looks, 60))
    try:
        async with asyncio.timeout(10):
            with server.client() as db:
                while not db.pubsub_numsub(live_channel(RUN))[0][1]:
                    await asyncio.sleep(0.01)
        yield feeds, staying
    finally:
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
        await feeds.close()
        await client.aclose()


def test_a_reader_leaves_whenever_it_is_told_to(redis_server: RedisServer) -> None:
    """Wherever it is on its way: what it waits for may have come just then. Told once, beside one who stays."""

    async def watch() -> None:
        async with beside_one_who_stays(redis_server) as (feeds, staying):
            for number in range(STEPS):
                leaving = asyncio.ensure_future(feeds.wait(f"{RUN}{number:02x}", never, 60))
                await steps(number)
                leaving.cancel()
                await asyncio.wait({leaving}, timeout=10)
                assert leaving.cancelled(), f"after {number} steps"
            assert not staying.done()

    asyncio.run(watch())


def test_a_reader_that_leaves_while_it_comes_breaks_nothing_off(redis_server: RedisServer) -> None:
    """All readers are told over one connection, which stays whatever a reader is just having said over it."""

    def leave_after(leaving: asyncio.Task[None], number: int) -> None:
        if number:
            asyncio.get_running_loop().call_soon(leave_after, leaving, number - 1)
        else:
            leaving.cancel()

    def listening() -> list[str]:
        with redis_server.client() as db:
            return [one["id"] for one in db.client_list() if int(one["sub"])]

    async def watch() -> None:
        async with beside_one_who_stays(redis_server) as (feeds, _):
            before = listening()
            for number in range(20):
                leaving = asyncio.ensure_future(feeds.wait(f"{RUN}{number}", never, 60))
                asyncio.get_running_loop().call_soon(leave_after, leaving, number)
                await asyncio.wait({leaving}, timeout=10)
                assert leaving.cancelled(), f"after {number} steps"
            assert listening() == before != []

    asyncio.run(watch())


def test_a_reader_that_leaves_while_it_comes_takes_nothing_from_the_others(redis_server: RedisServer) -> None:
    """What it had not yet begun to listen to is not left: who stays goes on being told."""

    async def come_and_go(feeds: Feeds) -> None:
        leaving = asyncio.ensure_future(feeds.wait(RUN, never, 10))
        await asyncio.sleep(0)  # it has begun, and not got far
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

    async def watch() -> None:
        looks = asyncio.Queue[None]()

        async def look() -> bool:
            looks.put_nowait(None)
            return False

        async with beside_one_who_stays(redis_server, look) as (feeds, _):
            await looks.get()
            for _ in range(3):
                await come_and_go(feeds)
            with redis_server.client() as db:
                assert db.publish(live_channel(RUN), "2") == 1
            async with asyncio.timeout(10):  # far below what it takes to look unasked
                await looks.get()

    asyncio.run(watch())


def test_who_listens_to_all_runs_leaves_with_the_last_reader(redis_server: RedisServer) -> None:
    """Wherever it is on its way; told once. Its connection goes with it."""

    async def read(events: AllEvents) -> None:
        async with aclosing(events.follow((0, 0))) as batches:
            async for _ in batches:
                pass

    async def watch() -> None:
        client = connect(Endpoint.parse(redis_server.unix_url), "feeds")
        await client.ask([("PING",)])
        before = asyncio.all_tasks()
        events = AllEvents(client, asyncio.Event())
        try:
            for number in range(3 * STEPS):
                leaving = asyncio.ensure_future(read(events))
                await steps(number)
                leaving.cancel()
                await asyncio.wait({leaving}, timeout=10)
                assert leaving.cancelled(), f"after {number} steps"
                left = asyncio.all_tasks() - before
                if left:
                    await asyncio.wait(left, timeout=10)
                assert not asyncio.all_tasks() - before, f"after {number} steps"
        finally:
            await client.aclose()

    asyncio.run(watch())


def test_a_caller_leaves_while_its_connection_is_made(redis_server: RedisServer) -> None:
    """Wherever that is; others who wait for the connection have it."""

    async def watch() -> None:
        for number in range(STEPS):
            client = connect(Endpoint.parse(redis_server.unix_url), "feeds")
            leaving = asyncio.ensure_future(client.ask([("PING",)]))
            staying = asyncio.ensure_future(client.ask([("PING",)]))
            await steps(number)
            if leaving.cancel():
                await asyncio.wait({leaving}, timeout=10)
                assert leaving.cancelled(), f"after {number} steps"
            async with asyncio.timeout(10):
                assert await staying == [b"PONG"]
            await client.aclose()

    asyncio.run(watch())


def test_listening_stops_also_while_it_connects() -> None:
    """It was told so in the moment in which it had sent its name, and did not hear of it: it is told again."""

    class Deaf:
        connecting = asyncio.Event()

        async def connected(self) -> None:
            self.connecting.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    async def watch() -> None:
        client: Any = Deaf()
        listening = Subscriptions(client, lambda *_: None, lambda: None)
        adding = asyncio.ensure_future(listening.add("a"))
        await client.connecting.wait()
        adding.cancel()
        async with asyncio.timeout(10):
            await listening.close()

    asyncio.run(watch())
