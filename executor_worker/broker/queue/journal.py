"""The journal of one item's run, step by step: a list in Redis that only the item's holder can write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from executor_worker.broker.connection.command import Prepared, Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.names import (
    GROUP,
    JOURNAL_PREFIX,
    MARKERS,
    PROGRESS_STREAM,
    RESETS,
    own_journal,
)
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.queues import known_streams
from executor_worker.envelopes.work_item import names_in
from executor_worker.errors import StreamError
from executor_worker.json_text import loads

LOOKED_AT = 10_000  # entries of a work stream


class Kept(Enum):
    """
    The way in which a write to the journal ended.

    Attributes:
        kept: Written, now or by a try whose reply was lost.
        fenced: Nothing written: another worker has the item or has settled it.
        other: Nothing written: the journal is not as it was left. Another worker runs an item of the same name, or it
            was lost.
    """

    kept = b"kept"
    fenced = b"fenced"
    other = b"other"


_TELL = Prepared(b"XADD", PROGRESS_STREAM, b"*", b"data")


class JournalKeys:
    """
    Reads and writes journals in the name of one item's holder.

    Args:
        run: Head's key of the run and the node that the item is for; None if it is no run's.
    """

    def __init__(
        self,
        link: Link,
        held: Held,
        *,
        ttl_s: float,
        group: str = GROUP,
        run: tuple[str, str] | None = None,
    ) -> None:
        self._link = link
        self._held = held
        self._ttl_ms = int(ttl_s * 1000)
        self._group = group
        self._head, self._node = run or (MARKERS, "")

    def read(self, *keys: str) -> list[list[bytes]]:
        """
        Read the records of each of *keys*, oldest first; none where there is no such journal.

        Raises:
            StreamUnavailable: No reply.
        """
        found = []
        for reply in self._link.batch([("LRANGE", key, 0, -1) for key in keys]):
            if isinstance(reply, StreamError) and "WRONGTYPE" not in str(reply):
                raise reply
            found.append([] if isinstance(reply, StreamError) else reply)
        return found

    def append(
        self,
        key: str,
        before: int,
        records: Sequence[bytes],
        events: Sequence[bytes],
        log: Sequence[tuple[str, bytes]] = (),
    ) -> Kept:
        """
        Write *records* after the *before* that are there, and *events* to the progress stream, in one step.

        Args:
            before: -1: whatever is there goes first.
            log: Type and data of the same events, for the run's log.

        Raises:
            StreamUnavailable: No reply: write again, what was written is found. Or Redis said not now.
            StreamRefused: The operator has to act; nothing was written.
        """
        held = self._held
        keys: list[Word] = [held.stream, MARKERS, RESETS, key, PROGRESS_STREAM, self._head]
        words: list[Word] = [self._group, held.consumer, held.entry, held.count, before, self._ttl_ms, len(records)]
        words += (self._node, len(events))
        told = [word for event in log if self._node for word in event]
        return Kept(self._link.run(journal_script(), keys, [*words, *records, *events, *told]))

    def tell(self, event: bytes) -> None:
        """Write *event* to the progress stream, as `tell` does."""
        tell(self._link, event)


def tell(link: Link, event: bytes) -> None:
    """Write *event* to the progress stream without waiting for an answer; if that can't be, it is left out."""
    link.cast(_TELL(event))


def journal_script() -> Script:
    return script("journal", "types", "standing", flags="")


def last_run(link: Link, graph_id: str, node_id: str, metadata: Mapping[str, Any]) -> list[bytes]:
    """
    Find what was written down of a node's last run; empty if nothing was.

    Args:
        metadata: The node's, in its graph's state: it names the item. Without one, the item is looked for among
            those on the work streams.

    Raises:
        StreamUnavailable: No reply.
    """
    names = [name for name in (metadata.get("work_id"),) if isinstance(name, str)]
    keys = [JOURNAL_PREFIX + name for name in names]
    if isinstance(metadata.get("entry"), str):
        keys = [own_journal(stream, metadata["entry"]) for stream in known_streams(link)] + keys
    keys = keys or list(_waiting(link, graph_id, node_id))
    found = (link.call("LRANGE", key, 0, -1) for key in keys)
    return next(filter(None, found), [])


def _waiting(link: Link, graph_id: str, node_id: str) -> Iterator[str]:
    """The journals of items on the work streams that are for this node."""
    for stream in known_streams(link):
        for entry, words in link.call("XRANGE", stream, "-", "+", "COUNT", LOOKED_AT):
            data = dict(zip(words[::2], words[1::2], strict=True)).get(b"data", b"")
            if names_in(data) == (graph_id, node_id):
                yield own_journal(stream, entry.decode())
                with suppress(ValueError):
                    yield f"{JOURNAL_PREFIX}{loads(data).get('id')}"
