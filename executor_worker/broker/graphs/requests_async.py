"""The same requests with asyncio: apart, since workers do without the Redis client that this needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import redis.exceptions

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.replies import NoScript, error_of
from executor_worker.broker.graphs.requests import ScriptCall, Steps, words_of
from executor_worker.errors import StreamUnavailable

T = TypeVar("T")


async def adrive(client: Any, steps: Steps[T]) -> T:
    """
    Run a verb over *client*, a `redis.asyncio.Redis` that answers with bytes.

    Raises:
        StreamUnavailable: No reply; the verb may be repeated as a whole.
        RunError: It can't be done.
    """
    try:
        requests = next(steps)
        while True:
            replies = await _asked(client, [words_of(request) for request in requests])
            for at, (request, reply) in enumerate(zip(requests, replies, strict=True)):
                if isinstance(reply, NoScript) and isinstance(request, ScriptCall):
                    replies[at] = (await _asked(client, [request.in_full()]))[0]
            requests = steps.send(replies)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def _asked(client: Any, commands: Sequence[tuple[Word, ...]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command, NEVER_DECODE=True)
    try:
        replies = await pipeline.execute(raise_on_error=False)
    except (redis.exceptions.RedisError, OSError) as error:
        raise StreamUnavailable(f"Redis does not answer: {error}") from error
    return [_ours(reply) for reply in replies]


def _ours(reply: Any) -> Any:
    """Make an error of the client's one of ours."""
    if isinstance(reply, redis.exceptions.NoScriptError):
        return NoScript(str(reply))
    if isinstance(reply, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return StreamUnavailable(str(reply))
    return error_of(str(reply)) if isinstance(reply, redis.exceptions.RedisError) else reply
