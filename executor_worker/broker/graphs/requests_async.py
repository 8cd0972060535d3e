"""The same requests with asyncio: apart, since workers do without the Redis client that this needs."""

from __future__ import annotations

from typing import TypeVar

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.connection.replies import NoScript
from executor_worker.broker.graphs.requests import ScriptCall, Steps, words_of

T = TypeVar("T")


async def adrive(client: Client, steps: Steps[T]) -> T:
    """
    Run a verb over *client*.

    Raises:
        StreamUnavailable: No reply; the verb may be repeated as a whole.
        RunError: It can't be done.
    """
    try:
        requests = next(steps)
        while True:
            replies = await client.ask([words_of(request) for request in requests])
            for at, (request, reply) in enumerate(zip(requests, replies, strict=True)):
                if isinstance(reply, NoScript) and isinstance(request, ScriptCall):
                    replies[at] = (await client.ask([request.in_full()]))[0]
            requests = steps.send(replies)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
