"""A delivery of one entry, as a worker receives it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


def added_at(entry: str) -> float:
    """Return when an entry was added, in seconds since the epoch: its id says so."""
    return int(entry.partition("-")[0]) / 1000


@dataclass(slots=True, unsafe_hash=True)  # not frozen: one is made for every item, which takes thrice as long then
class Held:
    """
    One delivery of one entry: who has it and which delivery it is; both must still be true to write anything.

    Attributes:
        count: Redis' own delivery count; it only grows.
        uncounted: Deliveries that are not held against the entry: drains, reloads, replies that were lost.
    """

    stream: str
    entry: str
    count: int
    consumer: str
    uncounted: int = 0

    @property
    def attempt(self) -> int:
        """The number of this run of the item, from 1."""
        return max(self.count - self.uncounted, 1) if self.uncounted else self.count

    @property
    def name(self) -> tuple[str, str]:
        """Stream and entry."""
        return self.stream, self.entry

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
class Delivery:
    """
    An entry as it came.

    Attributes:
        kind: Of work; see lib/kinds.lua.
        brought: What its kind has brought along with it in the same moment; None if it has nothing.
        row_lost: Its pending row is gone: no worker has it, and one may have settled it.
        asked_at: When it was asked for, in seconds on the monotonic clock: its lease began no sooner, and the answer
            may have been read much later.
        refused: How often a throttled provider refused its call, in runs that were given back for that.
        start_told: Watchers were told of it in the step that took it.
    """

    held: Held
    fields: dict[bytes, bytes]
    kind: str
    brought: Any = None
    row_lost: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    refused: int = 0
    start_told: bool = False

    @property
    def data(self) -> bytes | None:
        """The field of that name; None if the entry has none."""
        return self.fields.get(b"data")
