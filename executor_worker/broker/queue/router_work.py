"""Routers' work as others write it: on streams and in a group of its own, handed on to the work stream."""

from __future__ import annotations

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import ROUTER_GROUP, ROUTER_STREAMS, WORK_STREAMS
from executor_worker.json_text import dumps, loads

AT_ONCE = 64
ABANDONED_MS = 5_000  # read, and not handed on for so long: its reader is gone


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
        data = dict(zip(words[::2], words[1::2], strict=True)).get(b"data", b"")
        args: list[Word] = [ROUTER_GROUP, entry, as_item(data), "1" if delete else ""]
        link.run(forwarding, [stream_name, WORK_STREAMS[0]], args)
    return len(found)


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
