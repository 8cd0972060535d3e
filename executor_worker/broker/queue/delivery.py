"""What a consumer has in hand, what it wants committed, and what came of that."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from executor_worker.broker.graphs.taken import TakenNode, TakenStep


@dataclass(slots=True, unsafe_hash=True)  # not frozen: one is made for every item, which takes thrice as long then
class Held:
    """
    One delivery of one entry: who has it and which delivery it is; both must still be true to write anything.

    Attributes:
        count: Redis' own delivery count; it only grows.
        forgiven: Deliveries that are not held against the entry: drains, reloads, replies that were lost.
    """

    stream: str
    entry: str
    count: int
    consumer: str
    uncounted: int = 0

    @property
    def attempt(self) -> int:
        """Which run of the item this is, from 1."""
        return max(self.count - self.uncounted, 1) if self.uncounted else self.count

    def __str__(self) -> str:
        return f"{self.stream} {self.entry} {self.count} {self.uncounted} {self.consumer}"

    @classmethod
    def parse(cls, text: str) -> Held:
        """
        Read what `str` wrote.

        Raises:
            ValueError: It was cut off or is something else.
        """
        stream, entry, count, uncounted, consumer = text.split(" ", 4)
        return cls(stream, entry, int(count), consumer, int(uncounted))


@dataclass(slots=True)
class Taken:
    """
    An entry as it came.

    Attributes:
        data: None where the entry has no field of that name.
        state_key: Whose document `state` is, guessed from the data; None where nothing could be guessed.
        state: The document as it was in the same moment; None where there is none, empty where the key holds no string.
        row_lost: Its pending row is gone: nobody has it, and somebody may have settled it.
        asked_at: When it was asked for, in seconds on the monotonic clock: its lease began no sooner, and the answer
            may have been read much later.
        refused: How often a throttled provider refused its call, in runs that were given back for that.
        run: What a run's item brings along; None for any other.
    """

    held: Held
    data: bytes | None
    fields: dict[bytes, bytes]
    state_key: str | None = None
    state: bytes | None = None
    row_lost: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    refused: int = 0
    run: TakenNode | TakenStep | None = None


@dataclass(slots=True)
class Commit:
    """
    What settling writes.

    Attributes:
        expected: SHA-1 (hex) of the document that *document* was made from; b"" where there must be none;
            None to leave the state alone.
        events: Pairs of stream and `data`.
        failure: The first event tells of a failure, so that it may be due in the stream of completed events as well.
        dead: Fields of the dead letter; None where the item is not dead.
        journal: The run's; None where none was kept.
        last_record: What the journal ends with.
    """

    state_key: str | None = None
    expected: bytes | None = None
    document: bytes = b""
    ttl_s: int = 86400
    events: list[tuple[str, bytes]] = field(default_factory=list)
    failure: bool = False
    dead: dict[str, bytes | str] | None = None
    journal: str | None = None
    last_record: bytes = b""


class Settled(Enum):
    """
    How settling ended.

    Attributes:
        settled: Committed and acknowledged.
        already: It had been; the reply to that was lost.
        conflict: Nothing written: the state is another one now. Merge and settle again.
        fenced: Nothing written: somebody else has the item or has settled it.
        trimmed: Nothing written: the item's pending row is lost and nobody is known to have settled it.
            Look into the node's metadata in the state, then settle again with *force*.
    """

    settled = b"settled"
    already = b"already"
    conflict = b"conflict"
    fenced = b"fenced"
    trimmed = b"trimmed"
