"""Events as readers are shown them, whatever the transport: one by one, together, and what comes between them."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from executor_worker.broker.graphs import runs
from executor_worker.json_text import dumps, loads

KEPT = 64  # events of one run, or of what was shown between them, that are kept for readers
PART_BYTES = 16 * 1024  # of events that are sent at once


class Mark(Enum):
    """The mark that a reader is told between events."""

    QUIET = "quiet"  # nothing has come for a while
    RESET = "reset"  # its position is one that the log no longer has: all comes again
    LEAVING = "leaving"  # this process ends: join again at another


@dataclass(frozen=True, slots=True)
class Shown:
    """
    One event.

    Attributes:
        cursor: The position after it, as SSE's `id`.
        block: As a server-sent event: written once for all readers.
    """

    seq: int
    kind: str
    node: str
    cursor: str
    block: bytes

    @classmethod
    def of(cls, event: dict[str, Any]) -> Shown:
        cursor, kind = runs.cursor_of(event), event["type"]
        block = b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), kind.encode(), dumps(event))
        return cls(event["seq"], kind, event.get("node_id", ""), cursor, block)

    @classmethod
    def delta(cls, raw: bytes) -> Shown:
        """Make one of what is shown between events: it has no number and no position."""
        delta = loads(raw)
        kind, node = str(delta["type"]), str(delta.get("node_id", ""))
        return cls(0, kind, node, "", b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps(delta)))

    @property
    def raw(self) -> bytes:
        """The event as JSON, in the usual names."""
        return self.block.partition(b"\ndata: ")[2][:-2]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = loads(self.raw)
        return found

    def renamed(self) -> bytes:
        """Write it in the names that the original's documents have: `node_completed`."""
        return dumps({**self.event, "type": self.kind.replace(".", "_")})


class Batch(tuple[Shown, ...]):  # noqa: SLOT001 - it keeps what was made of it
    """Events that are shown at once, the same for all readers at one position."""

    @cached_property
    def parts(self) -> tuple[bytes, ...]:
        """The events as server-sent events: short ones together, long ones apart."""
        parts: list[bytes] = []
        some: list[bytes] = []
        size = 0
        for one in self:
            if some and size + len(one.block) > PART_BYTES:
                parts.append(b"".join(some))
                some, size = [], 0
            some.append(one.block)
            size += len(one.block)
        return (*parts, b"".join(some)) if some else tuple(parts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The events that a reader wants; empty: all."""

    types: Collection[str] = ()
    nodes: Collection[str] = ()
    outputs: bool = False  # also those that are too large to be told with each event
    deltas: bool = False  # also what is shown between events, and kept nowhere

    @property
    def all(self) -> bool:
        return not self.types and not self.nodes

    def holds(self, one: Shown) -> bool:
        return (not self.types or one.kind in self.types) and (not self.nodes or one.node in self.nodes)


@dataclass(frozen=True, slots=True)
class Position:
    """Attributes: seq (of the last event that was read), four (the beginning of its id; "": not known)."""

    seq: int = 0
    four: str = ""


class Reader:
    """
    A reader's position in a feed: woken when there is something new, and when there was nothing for a while.

    Attributes:
        deltas: What was shown between events since, each behind the number of the event that it came after (0: not
            known), the latest if it is much; None: this reader does not want it.
    """

    __slots__ = ("_news", "deltas", "quiet", "quiet_at", "quiet_s")

    def __init__(self, quiet_s: float, *, deltas: bool = False) -> None:
        self._news = asyncio.Event()
        self.deltas: deque[tuple[int, Shown]] | None = deque(maxlen=KEPT) if deltas else None
        self.quiet = False
        self.quiet_s = quiet_s
        self.quiet_at = math.inf

    def wake(self) -> None:
        self._news.set()

    def laid_between(self, shown: Batch, looked: int, wanted: Wanted) -> Batch:
        """Lay what was shown between events in its place among *shown*, which was read up to number *looked*."""
        if not self.deltas or self.deltas[0][0] > looked:
            return shown
        found: list[Shown] = []
        events = deque(shown)
        while self.deltas and self.deltas[0][0] <= looked:
            after, delta = self.deltas.popleft()
            while events and events[0].seq <= (after or looked):
                found.append(events.popleft())
            if wanted.holds(delta):
                found.append(delta)
        return Batch((*found, *events))

    def forget_deltas(self) -> None:
        """Forget what was shown between events that are gone."""
        if self.deltas is not None:
            self.deltas.clear()

    def clear(self) -> None:
        self._news.clear()

    async def wait(self) -> bool:
        """Wait for something new, or for the end of this process; False: there was nothing for a while."""
        self.quiet, self.quiet_at = False, asyncio.get_running_loop().time() + self.quiet_s
        await self._news.wait()
        self.quiet_at = math.inf
        return not self.quiet

    def look(self, now: float) -> None:
        """Note the time."""
        if now >= self.quiet_at:
            self.quiet = True
            self._news.set()
