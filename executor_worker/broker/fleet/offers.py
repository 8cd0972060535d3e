"""Tools that each live pool has, for items that come to a pool without them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import OFFER_PREFIX, OFFERS_PREFIX, POOLS, uncounted_key
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.gates import WAITING
from executor_worker.errors import StreamError

TTL_S = 30.0


def publish_offers(link: Link, pool: str, tools: Iterable[str], streams: Iterable[str]) -> None:
    """
    Say which tools *pool* has, and which streams it serves, for so long as a registration lives.

    Raises:
        StreamUnavailable: No reply, or Redis is full.
    """
    key = OFFERS_PREFIX + pool
    wanted = {*(f"tool {name}" for name in tools), *(f"stream {stream}" for stream in streams)}
    there = {name.decode("utf-8", "replace") for name in link.call("HGETALL", key)[::2]}
    commands: list[tuple[str | int, ...]] = []
    if wanted - there:
        commands.append(("HSET", key, *(word for name in sorted(wanted - there) for word in (name, "1"))))
    if there - wanted:
        commands.append(("HDEL", key, *sorted(there - wanted)))
    commands += [("PEXPIRE", key, int(TTL_S * 1000)), ("SADD", POOLS, pool)]
    for reply in link.batch(commands):
        if isinstance(reply, StreamError):
            raise reply


def withdraw_offers(link: Link, pool: str) -> None:
    """
    Offer nothing any more.

    Raises:
        StreamUnavailable: No reply; it ends by itself.
    """
    link.batch([("DEL", OFFERS_PREFIX + pool), ("SREM", POOLS, pool)])


def lack(link: Link, held: Held, tools: Sequence[str], *, longest_s: float) -> tuple[str, float] | None:
    """
    Look whether another live pool that serves the item's stream has all of *tools*.

    Returns:
        What the item may wait for, and until when in seconds since the epoch; None if there is no such pool, or it has
        waited for so long.

    Raises:
        StreamUnavailable: No reply.
    """
    names = sorted(set(tools))
    key = OFFER_PREFIX + hashlib.sha256("\0".join(names).encode()).hexdigest()[:24]
    keys = [uncounted_key(held.stream), POOLS, key]
    pool = held.consumer.rpartition(".")[0]
    words: list[Word] = [held.entry, held.stream, pool, int(longest_s * 1000), *names]
    ends_ms = link.run(script("lack", *WAITING), keys, words)
    return (key, ends_ms / 1000) if ends_ms else None
