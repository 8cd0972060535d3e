"""Channels on which nodes are shown while they run, and their listeners."""

from __future__ import annotations

from collections.abc import Sequence

from executor_worker.broker.connection.command import pack
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import DELTAS_CHANNEL, deltas_channel


def listened(link: Link, graph_id: str) -> list[str]:
    """
    Name those of a graph's channels that have a listener.

    Raises:
        StreamUnavailable: No reply.
        StreamRefused: We may not ask.
    """
    reply = link.call("PUBSUB", "NUMSUB", deltas_channel(graph_id), DELTAS_CHANNEL)
    return [name.decode() for name, count in zip(reply[::2], reply[1::2], strict=True) if count]


def show(link: Link, channels: Sequence[str], event: bytes) -> None:
    """Send *event* there without waiting for an answer; if that can't be, it is left out."""
    for channel in channels:
        link.cast(pack(("PUBLISH", channel, event)))
