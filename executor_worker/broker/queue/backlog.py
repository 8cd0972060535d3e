"""Backlog: how much work is waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import PARKED_COUNTS, WORK_STREAMS, dead_stream
from executor_worker.broker.queue.delivery import added_at
from executor_worker.broker.queue.source import OURS, Groups


@dataclass(frozen=True, slots=True)
class Backlog:
    """
    Attributes:
        depth: Items not settled yet: what no worker has taken, what is in hand and what is parked.
        pending: Those in hand: taken, and not given back to wait.
        parked: Those that wait until their throttled model may be called; no worker holds them.
        dead: Dead letters.
        oldest_age_s: Since the oldest item not settled was added; 0 if there is none.
    """

    stream: str
    depth: int
    pending: int
    parked: int
    dead: int
    oldest_age_s: float

    @property
    def waiting(self) -> int:
        """Items for which no worker was free yet."""
        return max(self.depth - self.pending - self.parked, 0)


def backlog(
    link: Link, *, delete_settled: bool, streams: Sequence[str] = WORK_STREAMS, groups: Groups = OURS
) -> list[Backlog]:
    """
    Measure each stream.

    If settled entries are deleted, what is in the stream is what is to be done. If they stay, what the group
    has not read (Redis loses count of that once one is deleted: then all there is counts) and what is pending. They
    also stay if another system has read before us.

    Raises:
        StreamUnavailable: No reply.
    """
    return [
        _measured(link, stream, groups.of(stream), delete_settled and stream not in groups.named) for stream in streams
    ]


def _measured(link: Link, stream: str, group: str, delete_settled: bool) -> Backlog:
    keys = [stream, dead_stream(stream), PARKED_COUNTS]
    entries, taken, parked, lag, oldest, dead, now = link.run(script("backlog"), keys, [group])
    depth = entries if delete_settled or lag is None else lag + taken
    age = max(now - added_at(oldest.decode()), 0.0) if oldest else 0.0
    return Backlog(stream, depth, taken - parked, parked, dead, age)
