"""How much work is waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.stream.link import Link
from executor_worker.stream.names import GROUP, WORK_STREAMS, added_at, dead_stream
from executor_worker.stream.script import script


@dataclass(frozen=True, slots=True)
class Backlog:
    """
    Attributes:
        depth: Items not settled yet, those in hand included.
        pending: Those in hand.
        dead: Dead letters.
        oldest_age_s: Since the oldest item not settled was added; 0 where there is none.
    """

    stream: str
    depth: int
    pending: int
    dead: int
    oldest_age_s: float


def backlog(
    link: Link, *, delete_settled: bool, streams: Sequence[str] = WORK_STREAMS, group: str = GROUP
) -> list[Backlog]:
    """
    Measure each stream.

    Where settled entries are deleted, what is in the stream is what is to be done. Where they stay, what the group
    has not read (Redis loses count of that once somebody deletes: then all there is counts) and what is pending.

    Raises:
        StreamUnavailable: No reply.
    """
    measured = []
    for stream in streams:
        entries, pending, lag, oldest, dead, now = link.run(script("backlog"), [stream, dead_stream(stream)], [group])
        depth = entries if delete_settled or lag is None else lag + pending
        age = max(now - added_at(oldest.decode()), 0.0) if oldest else 0.0
        measured.append(Backlog(stream, depth, pending, dead, age))
    return measured
