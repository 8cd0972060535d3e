"""The producer's side: add items, store a graph's state, wait for results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import RESULT_STREAMS, STATE_PREFIX, WORK_STREAMS
from executor_worker.errors import StreamError
from executor_worker.json_text import loads

AT_ONCE = 200
READ_COUNT = 100
BLOCK_S = 2.0


def add_items(link: Link, items: Sequence[bytes], *, stream: str = WORK_STREAMS[0]) -> list[str]:
    """
    Put items on a work stream.

    Returns:
        Their entries' ids.

    Raises:
        StreamUnavailable: No reply, or Redis is full: those before may have been added.
    """
    added: list[str] = []
    for start in range(0, len(items), AT_ONCE):
        for reply in link.batch([("XADD", stream, "*", "data", item) for item in items[start : start + AT_ONCE]]):
            if isinstance(reply, StreamError):
                raise reply
            added.append(reply.decode())
    return added


def store_state(link: Link, graph_id: str, document: bytes, *, ttl_s: float, replace: bool = False) -> bool:
    """
    Store a graph's state as it is; False if there is one already, unless *replace* is given.

    Raises:
        StreamUnavailable: No reply, or Redis is full.
    """
    only_new = () if replace else ("NX",)
    return link.call("SET", STATE_PREFIX + graph_id, document, "PX", int(ttl_s * 1000), *only_new) is not None


def states_of(link: Link, graphs: Sequence[str], *, read: bool) -> dict[str, bytes]:
    """
    Read the states of *graphs*, those that there are.

    Args:
        read: False: only whether there is one, its text is empty.

    Raises:
        StreamUnavailable: No reply.
    """
    found: dict[str, bytes] = {}
    for start in range(0, len(graphs), AT_ONCE):
        some = graphs[start : start + AT_ONCE]
        replies = link.batch([("GET" if read else "EXISTS", STATE_PREFIX + graph_id) for graph_id in some])
        for graph_id, reply in zip(some, replies, strict=True):
            if isinstance(reply, StreamError):
                raise reply
            if reply:
                found[graph_id] = reply if read else b""
    return found


class Results:
    """
    Result events from the moment this is made on: make it before adding what is waited for.

    A failure that stands in both streams comes once.

    Args:
        streams: More or other streams of events than those of results.
        from_start: What is still there comes first.
    """

    def __init__(
        self,
        link: Link,
        *,
        streams: Sequence[str] = RESULT_STREAMS,
        from_start: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._clock = clock
        self._places: dict[str, bytes] = {}
        self._seen: set[str] = set()
        last = link.batch([("XREVRANGE", stream, "+", "-", "COUNT", 1) for stream in streams])
        for stream, reply in zip(streams, last, strict=True):
            if isinstance(reply, StreamError):
                raise reply
            self._places[stream] = reply[0][0] if reply and not from_start else b"0-0"

    def next(self, timeout_s: float) -> list[dict[str, Any]]:
        """
        Wait for events; empty when none came in time.

        Raises:
            StreamUnavailable: No reply; call again, nothing is lost.
        """
        deadline = self._clock() + timeout_s
        while True:
            left = deadline - self._clock()
            events = self._read(min(max(left, 0.001), BLOCK_S))
            if events or left <= 0:
                return events

    def _read(self, block_s: float) -> list[dict[str, Any]]:
        reply = self._link.call(
            "XREAD", "COUNT", READ_COUNT, "BLOCK", max(int(block_s * 1000), 1),
            "STREAMS", *self._places, *self._places.values(),
        )  # fmt: skip
        events = []
        for stream, entry, words in _in_order(reply or []):
            self._places[stream.decode()] = entry
            event = _event(dict(zip(words[::2], words[1::2], strict=True)).get(b"data"))
            if event is not None and event.get("id") not in self._seen:
                self._seen.add(str(event.get("id")))
                events.append(event)
        return events


def _in_order(reply: list[Any]) -> list[tuple[bytes, bytes, list[bytes]]]:
    """Stream, entry and words of what has come, oldest first, as far as no older one can still come."""
    arrived = [(stream, entry, words) for stream, entries in reply for entry, words in entries]
    ends = [_order(entries[-1][0]) for _, entries in reply if len(entries) == READ_COUNT]
    found = [one for one in arrived if not ends or _order(one[1]) <= min(ends)]
    return sorted(found, key=lambda one: _order(one[1]))


def _order(entry: bytes) -> tuple[int, int]:
    ms, _, seq = entry.partition(b"-")
    return int(ms), int(seq)


def _event(data: bytes | None) -> dict[str, Any] | None:
    try:
        event = loads(data) if data is not None else None
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
