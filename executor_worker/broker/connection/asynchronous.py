"""Redis for processes with an event loop: the one place that uses redis.asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, cast

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.replies import error_of
from executor_worker.errors import StreamError, StreamUnavailable

TIMEOUT_S = 5.0
CONNECTIONS = 64
CONFIRMED_S = 2.0  # to wait until Redis says that a channel is listened to
SILENT_S = 10.0  # then a connection that only listens is asked whether it is still there
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # before a lost one is made again
Client: TypeAlias = "Redis"


def connect(endpoint: Endpoint, name: str, *, timeout_s: float = TIMEOUT_S, connections: int = CONNECTIONS) -> Client:
    """
    Make a client of *endpoint*: it connects when it is used, never tries anything twice, and answers with bytes.

    Args:
        name: Shown in CLIENT LIST.
        timeout_s: For connecting, and for each reply.
        connections: At most; who comes when all are taken waits for one.
    """
    options: dict[str, Any] = {
        "username": endpoint.user,
        "password": endpoint.password,
        "db": endpoint.db,
        "client_name": name,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if endpoint.service is not None:
        return _plain(_of_sentinels(endpoint, endpoint.service, options, connections))
    if endpoint.path is not None:
        options |= {"connection_class": UnixDomainSocketConnection, "path": endpoint.path}
    else:
        host, port = endpoint.hosts[0]
        tls = (
            {name: value for name, value in endpoint.tls.as_keywords().items() if name != "ssl"} if endpoint.tls else {}
        )
        options |= {"connection_class": SSLConnection if tls else Connection, "host": host, "port": port, **tls}
        options["socket_keepalive"] = True
    pool = BlockingConnectionPool(max_connections=connections, timeout=timeout_s, **options)
    return _plain(Redis(connection_pool=pool))


async def ask(client: Client, commands: Sequence[Sequence[Word]]) -> list[Any]:
    """
    Send several commands at once, as `Link.batch` does; an error reply stands in the list as an exception.

    Raises:
        StreamUnavailable: No reply.
    """
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command, NEVER_DECODE=True)
    try:
        replies = await pipeline.execute(raise_on_error=False)
    except (redis.exceptions.RedisError, OSError) as error:
        raise StreamUnavailable(f"Redis does not answer: {error}") from error
    return [_ours(reply) for reply in replies]


def _plain(client: Client) -> Client:
    """Let it answer what Redis says, as a `Link` does, and not what the client makes of it command by command."""
    client.response_callbacks.clear()
    return client


def _ours(reply: Any) -> Any:
    """Make an error of the client's one of ours."""
    if isinstance(reply, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return StreamUnavailable(str(reply))
    return error_of(str(reply)) if isinstance(reply, redis.exceptions.RedisError) else reply


def checked(replies: Sequence[Any]) -> Sequence[Any]:
    """
    Answer *replies*, none of which is an error.

    Raises:
        StreamError: The first that is.
    """
    for reply in replies:
        if isinstance(reply, StreamError):
            raise reply
    return replies


def _of_sentinels(endpoint: Endpoint, service: str, options: dict[str, Any], connections: int) -> Client:
    tls = endpoint.tls.as_keywords() if endpoint.tls else {}
    own = {"username": endpoint.sentinel_user, "password": endpoint.sentinel_password}
    timeout_s = options["socket_timeout"]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(endpoint.hosts), sentinel_kwargs={**own, **tls, "socket_timeout": timeout_s}, **{**options, **tls}
    )
    master = sentinel.master_for(service, connection_pool_class=SentinelConnectionPool, max_connections=connections)
    return cast("Client", master)


class Subscriptions:
    """
    Channels that are listened to over one connection, which is made again whenever it is lost.

    Args:
        heard: Told of each message: its channel.
        lost: Told whenever messages may have been missed, once the channels are listened to again.
    """

    def __init__(self, client: Client, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        self._client = client
        self._heard = heard
        self._lost = lost
        self._channels: dict[str, int] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    async def add(self, channel: str) -> None:
        """Listen to *channel*, as often as it was added; what comes from now on is heard, or `lost` is told."""
        self._channels[channel] = self._channels.get(channel, 0) + 1
        if self._channels[channel] == 1:
            self._confirmed[channel] = asyncio.Event()
            if self._task is None:
                self._task = asyncio.create_task(self._listen())
            else:
                await self._tell("SUBSCRIBE", channel)
        with suppress(TimeoutError):  # Redis is away: when it is back, `lost` is told
            async with asyncio.timeout(CONFIRMED_S):
                await self._confirmed[channel].wait()

    async def remove(self, channel: str) -> None:
        """Take one addition of *channel* back."""
        self._channels[channel] -= 1
        if not self._channels[channel]:
            del self._channels[channel], self._confirmed[channel]
            await self._tell("UNSUBSCRIBE", channel)

    async def close(self) -> None:
        """Listen to nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _tell(self, *words: str) -> None:
        if self._connection is not None:
            with suppress(redis.exceptions.RedisError, OSError):
                await self._connection.send_command(*words)

    async def _listen(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()
                self._connection = connection
                if self._channels:
                    await connection.send_command("SUBSCRIBE", *self._channels)
                pause_s = FIRST_PAUSE_S
                await self._hear(connection)
            except (redis.exceptions.RedisError, OSError):
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            finally:
                self._connection = None
                await connection.disconnect(nowait=True)

    async def _hear(self, connection: Any) -> None:
        """Tell of messages until the connection is lost; a silent one is asked whether it is still there."""
        asked, awaited = False, set(self._channels)
        while True:
            message = await connection.read_response(timeout=SILENT_S, disconnect_on_error=False)
            if message is None:
                if asked:
                    raise redis.exceptions.TimeoutError("the connection that listens does not answer")
                asked = True
                await connection.send_command("PING")
                continue
            asked = False
            if not isinstance(message, list) or len(message) < 2 or not isinstance(message[1], bytes):
                continue
            channel = message[1].decode()
            if message[0] == b"message":
                self._heard(channel)
            elif message[0] == b"subscribe":
                if channel in self._confirmed:
                    self._confirmed[channel].set()
                if awaited:
                    awaited &= self._channels.keys() - {channel}
                    if not awaited:
                        self._lost()
