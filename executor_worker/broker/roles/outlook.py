"""The backlog of roles' queues before we serve them, and the foreign executors that serve them too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import MARKERS, REGISTRY_PREFIX, ROLE_GROUP
from executor_worker.broker.queue.consumers import fields_of
from executor_worker.errors import StreamError

ACTIVE_MS = 60_000


@dataclass(slots=True)
class Outlook:
    """
    Attributes:
        entries: In the stream, old ones that were settled included.
        grouped: The group is there: it goes on where it stood.
        waiting: Entries that the group has not read yet; all there are while there is no group.
        left: Pending of consumers that are none of ours.
        foreign: Those of them that were active within a minute.
    """

    stream: str
    entries: int = 0
    grouped: bool = False
    waiting: int = 0
    left: int = 0
    foreign: list[str] = field(default_factory=list)


def look_at_queues(link: Link, streams: Sequence[str]) -> list[Outlook]:
    """
    Look at the queues of roles.

    Raises:
        StreamUnavailable: No reply.
    """
    return [_looked_at(link, stream) for stream in streams]


def _looked_at(link: Link, stream: str) -> Outlook:
    entries, groups, consumers = link.batch(
        [("XLEN", stream), ("XINFO", "GROUPS", stream), ("XINFO", "CONSUMERS", stream, ROLE_GROUP)]
    )
    if isinstance(entries, StreamError):
        raise entries
    found = Outlook(stream, entries, waiting=entries)
    if isinstance(groups, StreamError) or isinstance(consumers, StreamError):
        return found  # no stream, or no group: both are made at the start
    found.grouped = True
    lags = [about.get("lag") for about in map(fields_of, groups) if about["name"] == ROLE_GROUP.encode()]
    found.waiting = lags[0] if lags and lags[0] is not None else entries
    for about in map(fields_of, consumers):
        name = about["name"].decode("utf-8", "replace")
        if not _is_ours(link, name):
            found.left += about["pending"]
            found.foreign += [name] if about["idle"] < ACTIVE_MS else []
    return found


def _is_ours(link: Link, name: str) -> bool:
    marked, registered = link.batch([("HGET", MARKERS, name), ("EXISTS", REGISTRY_PREFIX + name)])
    return _there(marked) or _there(registered)


def _there(reply: Any) -> bool:
    return bool(reply) and not isinstance(reply, StreamError)
