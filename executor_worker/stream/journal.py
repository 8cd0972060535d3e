"""What the run of one item has done, step by step: a list in Redis that only the item's holder can write."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from executor_worker.errors import StreamError
from executor_worker.stream.command import Word
from executor_worker.stream.held import Held
from executor_worker.stream.link import Link
from executor_worker.stream.names import GROUP, MARKERS, PROGRESS_STREAM, RESETS
from executor_worker.stream.script import script


class Kept(Enum):
    """
    How writing ended.

    Attributes:
        kept: Written, now or by a try whose reply was lost.
        fenced: Nothing written: somebody else has the item or has settled it.
        other: Nothing written: the journal is not as it was left. Somebody runs an item of the same name, or it
            was lost.
    """

    kept = b"kept"
    fenced = b"fenced"
    other = b"other"


class JournalKeys:
    """Reads and writes journals in the name of one item's holder."""

    def __init__(self, link: Link, held: Held, *, ttl_s: float, group: str = GROUP) -> None:
        self._link = link
        self._held = held
        self._ttl_ms = int(ttl_s * 1000)
        self._group = group
        self._script = script("journal", "standing", flags="")

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

    def append(self, key: str, before: int, records: Sequence[bytes], events: Sequence[bytes]) -> Kept:
        """
        Write *records* after the *before* that are there, and *events* to the progress stream, in one step.

        Args:
            before: -1: whatever is there goes first.

        Raises:
            StreamUnavailable: No reply: write again, what was written is found. Or Redis said not now.
            StreamRefused: The operator has to act; nothing was written.
        """
        held = self._held
        keys: list[Word] = [held.stream, MARKERS, RESETS, key, PROGRESS_STREAM]
        words: list[Word] = [self._group, held.consumer, held.entry, held.count, before, self._ttl_ms, len(records)]
        return Kept(self._link.run(self._script, keys, [*words, *records, *events]))

    def tell(self, event: bytes) -> None:
        """Write *event* to the progress stream without waiting for an answer; where that can't be, it is left out."""
        self._link.cast((b"XADD", PROGRESS_STREAM, b"*", b"data", event))
