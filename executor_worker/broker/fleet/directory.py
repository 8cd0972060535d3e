"""Read the registry with an event loop: who works on this Redis, and what waits there."""

from __future__ import annotations

from typing import Any

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.fleet.registry import SCAN_PAGE, entry_of
from executor_worker.broker.names import OFFERS_PREFIX, POOLS, REGISTRY_PREFIX

PAGE = 500  # entries in one command
TOOL = b"tool "


async def workers(client: Client) -> list[dict[str, Any]]:
    """
    Find and read all entries, by id. Redis walks over all its keys for that: do not ask often.

    Raises:
        StreamUnavailable: No reply.
    """
    keys: set[bytes] = set()
    cursor = b"0"
    while True:
        scan = ("SCAN", cursor, "MATCH", REGISTRY_PREFIX + "*", "COUNT", SCAN_PAGE)
        cursor, page = checked(await client.ask([scan]))[0]
        keys.update(page)
        if cursor == b"0":
            break
    names = sorted(keys)
    pages: list[tuple[Word, ...]] = [("MGET", *names[at : at + PAGE]) for at in range(0, len(names), PAGE)]
    values = [value for page in checked(await client.ask(pages)) for value in page] if pages else []
    return [entry for entry in map(entry_of, values) if entry is not None]


async def worker(client: Client, name: str) -> dict[str, Any] | None:
    """
    Read one entry; None if there is none.

    Raises:
        StreamUnavailable: No reply.
    """
    return entry_of(checked(await client.ask([("GET", REGISTRY_PREFIX + name)]))[0])


async def offered_tools(client: Client) -> frozenset[str] | None:
    """
    Read which tools the live pools have; None if none says.

    Raises:
        StreamError: No reply, or we may not ask.
    """
    (pools,) = checked(await client.ask([("SMEMBERS", POOLS)]))
    offers = checked(await client.ask([("HGETALL", OFFERS_PREFIX + pool.decode()) for pool in pools])) if pools else []
    named = [name for offer in offers for name in offer[::2]]
    tools = frozenset(name.removeprefix(TOOL).decode("utf-8", "replace") for name in named if name.startswith(TOOL))
    return tools if named else None
