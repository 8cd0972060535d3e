"""Many callers share one connection to a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from executor_worker.broker import Endpoint
from executor_worker.broker.connection import asynchronous
from executor_worker.broker.connection.asynchronous import Client, connect
from executor_worker.errors import StreamRefused, StreamUnavailable
from tests.kit import RedisServer
from tests.unit.executor_worker.broker.acts import Client as Plain


@pytest.fixture
def run(shared_server: RedisServer) -> Callable[..., Any]:
    """Run something with a client of it."""

    def runs(work: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
        async def main() -> Any:
            client = connect(Endpoint.parse(shared_server.unix_url), "shared", **options)
            try:
                return await work(client)
            finally:
                await client.aclose()

        return asyncio.run(main())

    return runs


def lines(db: Plain) -> int:
    return sum(one["name"] == "shared" for one in db.client_list())


def test_replies_find_their_callers(run: Callable[..., Any], db: Plain) -> None:
    """A hundred callers at once, over no more connections than are allowed; errors stand in their places."""

    async def work(client: Client) -> None:
        asked = [[("SET", f"k{at}", at), ("NO SUCH COMMAND",), ("GET", f"k{at}")] for at in range(200)]
        for at, (done, error, value) in enumerate(await asyncio.gather(*map(client.ask, asked))):
            assert (done, value) == (b"OK", b"%d" % at)
            assert isinstance(error, StreamRefused)
        assert 1 <= lines(db) <= asynchronous.LINES

    run(work)


def test_a_caller_that_leaves_takes_no_reply_along(run: Callable[..., Any]) -> None:
    """The reply to it is read all the same, and the next caller has its own."""

    async def work(client: Client) -> None:
        await client.ask([("PING",)])
        leaving = asyncio.ensure_future(client.ask([("ECHO", "first")]))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await client.ask([("ECHO", "second")]) == [b"second"]

    run(work)


def test_a_lost_connection_is_made_again(run: Callable[..., Any], db: Plain) -> None:
    """Callers that wait are told; the next one finds Redis."""

    async def work(client: Client) -> None:
        await client.ask([("PING",)])
        waiting = asyncio.ensure_future(client.ask([("BLPOP", "nothing", 0)]))
        while not db.info("clients")["blocked_clients"]:
            await asyncio.sleep(0.01)
        db.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StreamUnavailable):
            await waiting
        assert await client.ask([("PING",)]) == [b"PONG"]

    run(work)


def test_a_redis_that_says_nothing_is_given_up(run: Callable[..., Any]) -> None:
    """In time, for all who wait on that connection; another one is made."""

    async def work(client: Client) -> None:
        asked = [client.ask([("BLPOP", "nothing", 0)]), client.ask([("PING",)])]
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
        assert all(isinstance(one, StreamUnavailable) for one in answers)
        assert await client.ask([("PING",)]) == [b"PONG"]

    run(work, timeout_s=1.0)


def test_a_redis_that_is_not_there_is_said() -> None:
    """To each caller."""

    async def main() -> None:
        client = connect(Endpoint.parse("127.0.0.1:1"), "shared")
        for _ in range(2):
            with pytest.raises(StreamUnavailable):
                await client.ask([("PING",)])

    asyncio.run(main())
