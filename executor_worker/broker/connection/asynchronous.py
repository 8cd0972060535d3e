"""Redis for processes with an event loop: the one place that uses redis.asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import redis.exceptions
from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from executor_worker.broker.connection.command import Word, pack
from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.replies import Misplaced, NoScript, error_of
from executor_worker.broker.connection.shared_line import SharedLine
from executor_worker.errors import StreamError, StreamUnavailable

TIMEOUT_S = 5.0
CONFIRMED_S = 2.0  # to wait until Redis says that a channel is listened to
SILENT_S = 10.0  # then a connection that only listens is asked whether it is still there
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # before a lost one is made again
LINES = 4  # at most: a large reply on one holds up who shares it
BUSY = 32  # callers that wait on each line before another one is opened


class Client:
    """
    A client of one endpoint: it connects when it is used, never tries anything twice, and answers with bytes.

    All callers share a few connections, on which nothing may block.
    """

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._lines: list[SharedLine] = []
        self._opening: asyncio.Task[SharedLine] | None = None

    async def ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """
        Send several commands at once, as `Link.batch` does; an error reply stands in the list as an exception.

        Raises:
            StreamUnavailable: No reply.
        """
        packed = b"".join(pack(tuple(command)) for command in commands)
        line = self._least_busy()
        if line is None:
            line = await self._open()
        return [_ours(reply) for reply in await line.ask(packed, len(commands))]

    def make_connection(self) -> Any:
        """Make a connection of the caller's own, not connected yet."""
        return self._pool.make_connection()  # type: ignore[no-untyped-call]

    async def connected(self) -> Any:
        """
        Make a connection of the caller's own, and connect it; whoever reads from it says for how long.

        What is sent has no time limit: for one redis-py takes `wait_for`, which in Python 3.11 loses a cancellation
        that comes in the moment in which all is sent.
        """
        connection = self.make_connection()
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        connection.socket_timeout = None
        return connection

    async def aclose(self) -> None:
        """Hang up."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        lines, self._lines = self._lines, []
        for line in lines:
            await line.close()

    def _least_busy(self) -> SharedLine | None:
        """Return the line to use; None: another one is to be opened."""
        best: SharedLine | None = None
        for line in self._lines:
            if not line.lost and (best is None or line.unanswered < best.unanswered):
                best = line
        return best if best is None or best.unanswered < BUSY or len(self._lines) >= LINES else None

    async def _open(self) -> SharedLine:
        """
        Open another line, once for all who wait for one: a caller that is cancelled leaves it to the others.

        Raises:
            StreamUnavailable: Redis can't be reached, or does not let us in.
        """
        if self._opening is None:
            self._opening = asyncio.create_task(self._opened())
            self._opening.add_done_callback(self._is_open)
        return await asyncio.shield(self._opening)

    async def _opened(self) -> SharedLine:
        self._lines = [line for line in self._lines if not line.lost]
        line = SharedLine(self.make_connection(), redis.exceptions.ResponseError, _is_useless, self._timeout_s)
        try:
            await line.open()
        except (redis.exceptions.RedisError, OSError) as error:
            raise _refusal(error) from error
        self._lines.append(line)
        return line

    def _is_open(self, opening: asyncio.Task[SharedLine]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # those who wait for it are told, if any are left


def connect(endpoint: Endpoint, name: str, *, timeout_s: float = TIMEOUT_S) -> Client:
    """
    Make a client of *endpoint*.

    Args:
        name: Shown in CLIENT LIST.
        timeout_s: For connecting, and for each reply.
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
        return Client(_of_sentinels(endpoint, endpoint.service, options), timeout_s)
    if endpoint.path is not None:
        options |= {"connection_class": UnixDomainSocketConnection, "path": endpoint.path}
    else:
        host, port = endpoint.hosts[0]
        tls = (
            {name: value for name, value in endpoint.tls.as_keywords().items() if name != "ssl"} if endpoint.tls else {}
        )
        options |= {"connection_class": SSLConnection if tls else Connection, "host": host, "port": port, **tls}
        options["socket_keepalive"] = True
    return Client(ConnectionPool(**options), timeout_s)


def _refusal(error: Exception) -> StreamError:
    """Say why there is no connection."""
    text = str(error)
    if isinstance(error, redis.exceptions.AuthenticationError | redis.exceptions.NoPermissionError):
        return error_of(text)
    return StreamUnavailable(f"Redis does not answer: {text}")


def _is_useless(reply: Exception) -> bool:
    """Tell of an error reply that another connection may lead to a server that can serve us."""
    return isinstance(_ours(reply), Misplaced)


def _ours(reply: Any) -> Any:
    """Make an error of the client's one of ours."""
    if not isinstance(reply, redis.exceptions.RedisError):
        return reply
    if isinstance(reply, redis.exceptions.NoScriptError):
        return NoScript(str(reply))
    if isinstance(reply, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return StreamUnavailable(str(reply))
    return error_of(str(reply))


def _of_sentinels(endpoint: Endpoint, service: str, options: dict[str, Any]) -> ConnectionPool:
    tls = endpoint.tls.as_keywords() if endpoint.tls else {}
    own = {"username": endpoint.sentinel_user, "password": endpoint.sentinel_password}
    timeout_s = options["socket_timeout"]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(endpoint.hosts), sentinel_kwargs={**own, **tls, "socket_timeout": timeout_s}, **{**options, **tls}
    )
    return cast("ConnectionPool", sentinel.master_for(service).connection_pool)


class OwnLine:
    """A connection of one caller's own, for commands that block; it is made again after it was lost."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection: Any = None

    async def ask(self, *words: Word, timeout_s: float) -> Any:
        """
        Send one command, and wait for its reply.

        Raises:
            StreamError: There is none in time, or it is an error.
        """
        try:
            if self._connection is None:
                self._connection = await self._client.connected()
            await self._connection.send_command(*words)
            return await self._connection.read_response(timeout=timeout_s, disconnect_on_error=False)
        except (redis.exceptions.RedisError, OSError) as error:
            await self.close()
            raise _refusal(error) from error

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class Subscriptions:
    """
    Channels that are listened to over one connection, which is made again whenever it is lost.

    Args:
        heard: Told of each message: its channel, and what it says.
        lost: Told whenever messages may have been missed, once the channels are listened to again.
    """

    def __init__(self, client: Client, heard: Callable[[str, bytes], None], lost: Callable[[], None]) -> None:
        self._client = client
        self._heard = heard
        self._lost = lost
        self._channels: dict[str, int] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    async def add(self, *channels: str) -> None:
        """
        Listen to *channels*, as often as they were added; what comes from now on is heard, or `lost` is told.

        They are counted before anything is waited for: who is cancelled in here takes them back like anybody else.
        """
        new = [channel for channel in channels if self._count(channel)]
        confirmed = [self._confirmed[channel] for channel in channels]
        if new and self._task is None:
            self._task = asyncio.create_task(self._listen())
        elif new:
            await self._tell("SUBSCRIBE", *new)
        with suppress(TimeoutError):  # Redis is away: when it is back, `lost` is told
            async with asyncio.timeout(CONFIRMED_S):
                for one in confirmed:
                    await one.wait()

    async def remove(self, *channels: str) -> None:
        """Take one addition of each of *channels* back."""
        if idle := [channel for channel in channels if self._discount(channel)]:
            await self._tell("UNSUBSCRIBE", *idle)

    def _count(self, channel: str) -> bool:
        """Count an addition; tells whether it is the first one."""
        self._channels[channel] = self._channels.get(channel, 0) + 1
        if self._channels[channel] > 1:
            return False
        self._confirmed[channel] = asyncio.Event()
        return True

    def _discount(self, channel: str) -> bool:
        """Take an addition back; tells whether it was the last one."""
        self._channels[channel] -= 1
        if self._channels[channel]:
            return False
        del self._channels[channel], self._confirmed[channel]
        return True

    async def close(self) -> None:
        """Listen to nothing any more."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # until it hears of it: see `Client.connected`
            await asyncio.wait({task}, timeout=LONGEST_PAUSE_S)

    async def _tell(self, *words: str) -> None:
        """Tell Redis; who is cancelled meanwhile does not wait, and breaks nothing off: all share the connection."""
        await asyncio.shield(self._send(words))

    async def _send(self, words: Sequence[str]) -> None:
        if self._connection is not None:
            with suppress(redis.exceptions.RedisError, OSError):
                await self._connection.send_command(*words)

    async def _listen(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            connection = None
            try:
                self._connection = connection = await self._client.connected()
                if self._channels:
                    await connection.send_command("SUBSCRIBE", *self._channels)
                pause_s = FIRST_PAUSE_S
                await self._hear(connection)
            except (redis.exceptions.RedisError, OSError):
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            finally:
                self._connection = None
                if connection is not None:
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
                self._heard(channel, message[2])
            elif message[0] == b"subscribe":
                if channel in self._confirmed:
                    self._confirmed[channel].set()
                if awaited:
                    awaited &= self._channels.keys() - {channel}
                    if not awaited:
                        self._lost()
