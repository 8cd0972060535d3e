"""Routers' work as others write it: on streams and in a group of its own, handed on to the work stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import ROUTER_GROUP, ROUTER_STREAMS, WORK_STREAMS, dead_stream
from executor_worker.envelopes.role_job import readable
from executor_worker.errors import StreamError
from executor_worker.json_text import dumps, loads

AT_ONCE = 64
ORIGIN, CAME = b"handed_on_from", b"as_it_came"
ABANDONED_MS = 5_000  # read, and not handed on for so long: its reader is gone


@dataclass(frozen=True, slots=True)
class Origin:
    """The entry that one on the work stream was handed on from."""

    stream: str
    entry: str
    _item: bytes | None
    _came: bytes | None

    @property
    def kept(self) -> dict[str, bytes]:
        """The item as a dead letter keeps it: its `data` as it came, or without one all its `fields`."""
        if self._item is None:
            return {"data": b"", "fields": self._came or b"{}"}
        return {"data": self._item if self._came is None else self._came}


def there_is_any(link: Link) -> bool:
    """
    Tell whether these streams are in use.

    Raises:
        StreamUnavailable: No reply.
    """
    return bool(link.call("EXISTS", *ROUTER_STREAMS))


def hand_on(link: Link, reader: str, *, delete: bool, abandoned: bool = False) -> int:
    """
    Hand on what is new; the groups must be there.

    Args:
        abandoned: Also what another reader has left lying.

    Returns:
        How many entries were handed on.

    Raises:
        StreamUnavailable: No reply; nothing is lost or done twice.
    """
    found: list[tuple[bytes, bytes, list[bytes]]] = []
    if abandoned:
        for stream in ROUTER_STREAMS:
            reply = link.call("XAUTOCLAIM", stream, ROUTER_GROUP, reader, ABANDONED_MS, "0-0", "COUNT", AT_ONCE)
            found += [(stream.encode(), entry, words) for entry, words in reply[1] if words]
    news = ("XREADGROUP", "GROUP", ROUTER_GROUP, reader, "COUNT", AT_ONCE, "STREAMS", *ROUTER_STREAMS)
    for stream_name, entries in link.call(*news, *(">" for _ in ROUTER_STREAMS)) or ():
        found += [(stream_name, entry, words) for entry, words in entries]
    forwarding = script("forward")
    for stream_name, entry, words in found:
        args: list[Word] = [ROUTER_GROUP, entry, "1" if delete else ""]
        link.run(forwarding, [stream_name, WORK_STREAMS[0]], args + handed_on(stream_name, entry, words))
    return len(found)


def handed_on(stream: bytes, entry: bytes, words: list[bytes]) -> list[Word]:
    """Word the entry for the work stream: the item, and where it came from; as it came only if that is another text."""
    fields = dict(zip(words[::2], words[1::2], strict=True))
    origin: list[Word] = [ORIGIN, b"%b %b" % (stream, entry)]
    if b"data" not in fields:
        return [*origin, CAME, dumps({readable(name): readable(value) for name, value in fields.items()})]
    data = fields[b"data"]
    item = as_item(data)
    return ["data", item, *origin, *((CAME, data) if item != data else ())]


def origin_of(fields: Mapping[bytes, bytes]) -> Origin | None:
    """Find where an entry of the work stream was handed on from; None if it was put there."""
    stream, _, entry = fields.get(ORIGIN, b"").decode("utf-8", "replace").partition(" ")
    if stream not in ROUTER_STREAMS:
        return None
    return Origin(stream, entry, fields.get(b"data"), fields.get(CAME))


def as_item(data: bytes) -> bytes:
    """Write a router's work as an item for the work stream; what can't be read is handed on as it is."""
    try:
        body = loads(data)
    except ValueError:
        return data
    if not isinstance(body, dict):
        return data
    if isinstance(body.get("data"), dict):
        inner = {"node_type": "router", **body["data"]}
        execution = body.get("execution_id") or inner.get("graph_id")
        return dumps({**body, "data": {"graph_id": execution, **inner}})
    named = {"graph_id": body.get("graph_id") or body.get("execution_id")}
    return dumps({**body, **{name: value for name, value in named.items() if value}, "node_type": "router"})


def with_letters(link: Link) -> tuple[str, ...]:
    """
    Name those of these streams that have dead letters, as far as this user may see them.

    Raises:
        StreamUnavailable: No reply.
    """
    there = link.batch([("EXISTS", dead_stream(stream)) for stream in ROUTER_STREAMS])
    return tuple(
        stream
        for stream, count in zip(ROUTER_STREAMS, there, strict=True)
        if not isinstance(count, StreamError) and count
    )
