"""Key types: finds our keys that hold another type, put there by another program; Redis' error does not say which."""

from __future__ import annotations

from collections.abc import Sequence

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import (
    AWAITED,
    LAST_READ,
    MARKERS,
    PARKED,
    PROGRESS_STREAM,
    QUEUES,
    RESETS,
    RESULT_STREAMS,
    ROLE_QUEUES,
    ROUTER_STREAMS,
    TAKEN_STREAMS,
    dead_stream,
    uncounted_key,
)
from executor_worker.errors import StreamError

CODE = "WRONGTYPE"
FIX = "Find out who wrote it, and RENAME or delete it; what is in it is not ours."


def wrong_keys(link: Link, streams: Sequence[str] = TAKEN_STREAMS) -> list[str]:
    """
    Say of each key that holds something else than we keep there what it holds.

    Raises:
        StreamUnavailable: No reply.
    """
    expected = dict.fromkeys(
        (*streams, *map(dead_stream, (*streams, *ROUTER_STREAMS)), *RESULT_STREAMS, PROGRESS_STREAM), "stream"
    )
    expected |= dict.fromkeys((*map(uncounted_key, streams), MARKERS, RESETS, LAST_READ, PARKED), "hash")
    expected |= dict.fromkeys((AWAITED, QUEUES, ROLE_QUEUES), "set")
    found = link.batch([("TYPE", name) for name in expected])
    return [
        f"the key {name} holds a {kind.decode()}, where a {wanted} is expected"
        for (name, wanted), kind in zip(expected.items(), found, strict=True)
        if not isinstance(kind, StreamError) and kind.decode() not in ("none", wanted)
    ]
