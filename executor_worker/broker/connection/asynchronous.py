"""Redis for processes with an event loop: the one place that uses redis.asyncio."""

from __future__ import annotations

from collections.abc import Sequence
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
