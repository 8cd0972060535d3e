"""The consumer group: made if it is missing, made anew if it was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.names import LAST_READ, RESETS, ROLE_GROUP, WORK_STREAMS
from executor_worker.broker.queue.queues import note_queues, note_role_queues
from executor_worker.broker.queue.source import OURS, Groups


@dataclass(frozen=True, slots=True)
class Made:
    """
    A group that had to be made.

    Attributes:
        start: The id after which it reads on.
        lost: It had been there before, as its maker knew.
    """

    stream: str
    start: str
    lost: bool


class GroupMemory(Protocol):
    """Remembers for several consumers of which streams the groups have been there."""

    def knows_groups(self, streams: Sequence[str]) -> bool: ...

    def note_groups(self, streams: Sequence[str]) -> None: ...


def group_script() -> Script:
    return script("ensure_group")


def ensure_groups(
    link: Link,
    *,
    delete_settled: bool,
    known: bool = False,
    streams: Sequence[str] = WORK_STREAMS,
    groups: Groups = OURS,
) -> list[Made]:
    """
    Make the group on each stream where it is missing; the stream as well.

    It starts at 0, so that what lies in the stream is read, or where *groups* say; where settled entries stay in the
    stream it starts after the last one known to have been delivered, so that none of them is run again.

    Args:
        known: The groups have been there before: one that is missing now was lost.

    Returns:
        What was missing; empty nearly always.

    Raises:
        StreamUnavailable: No reply.
        StreamRefused: No permission, or something else than a stream has that name.
    """
    made = []
    ensure = group_script()
    roles = [stream for stream in streams if groups.of(stream) == ROLE_GROUP]
    notes = note_queues(streams) + note_role_queues(roles)
    seen = link.batch([*(("XINFO", "GROUPS", stream) for stream in streams), *notes])
    for stream in [name for name, found in zip(streams, seen, strict=False) if not _among(groups.of(name), found)]:
        # Of another system's stream nothing is deleted but what we have settled: what lies there may be old.
        keep = not delete_settled or stream in groups.named
        start = groups.start(stream)
        words = [groups.of(stream), "1" if keep else "0", "0-0" if start == "0" else start]
        answer = link.run(ensure, [stream, RESETS, LAST_READ], words)
        if answer is not None:
            made.append(Made(stream, answer.decode(), known))
    return made


def _among(group: str, groups: Any) -> bool:
    """Tell whether *group* is surely one of those; an error reply says nothing, the script will."""
    return isinstance(groups, list) and any(about[1] == group.encode() for about in groups)
