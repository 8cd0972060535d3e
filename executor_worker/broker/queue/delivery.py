"""
A delivery of one entry, as a worker receives it: what came, and a claim with all that can be done with it.

What another consumer left is taken over by `if_stale` in lua/lib/taking.lua (XAUTOCLAIM).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import DUE

if TYPE_CHECKING:
    from executor_worker.broker.queue.commit import Commit, Settled
    from executor_worker.broker.queue.journal import JournalKeys

T = TypeVar("T")


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


class Settlement(NamedTuple):
    """
    The result of a settle script.

    Attributes:
        seen: What the script tells: if nothing was written, the state as it is now (with conflict and trimmed), what
            has to be decided (with judge); of runs that are over with what was written, their ends (with settled).
        next: The next item, taken in the same step.
    """

    ending: Settled
    seen: Any = None
    next: Claim | None = None


class Holder(Protocol):
    """The consumer that has a delivery; see `Consumer` for what each does and raises."""

    untold: list[bytes]

    def read_state(self, key: str) -> bytes | None: ...
    def ask(self, act: Callable[[Link], T]) -> T: ...
    def journal(self, held: Held, *, ttl_s: float, run: tuple[str, str] | None = None) -> JournalKeys: ...
    def holds(self, held: Held) -> bool: ...
    def settle(self, held: Held, commit: Commit, *, take_next: bool) -> Settlement: ...
    def release(self, held: Held, *, counted: bool) -> bool: ...
    def park(
        self, held: Held, throttle_key: str, refused: int, *, watched: str, ends_at: float, due_s: float | None = None
    ) -> bool: ...


class Claim:
    """
    One delivery and its verbs; each raises what its counterpart in `Consumer` does.

    Attributes:
        held: Whose it is, and which delivery: what is on the scoreboard.
        delivery: What came.
    """

    __slots__ = ("_holder", "delivery", "held")

    def __init__(self, delivery: Delivery, holder: Holder) -> None:
        self.delivery = delivery
        self.held = delivery.held
        self._holder = holder

    def state(self, key: str) -> bytes | None:
        """Read a graph's document: None if there is none, empty if the key holds no string."""
        return self._holder.read_state(key)

    def ask(self, act: Callable[[Link], T]) -> T:
        """Let its kind read something else over the consumer's connection."""
        return self._holder.ask(act)

    def tell_with_result(self, event: bytes) -> None:
        """Let the settle script tell *event* to watchers; if the item is given back it is told then."""
        self._holder.untold.append(event)

    def journal(self, *, ttl_s: float, run: tuple[str, str] | None = None) -> JournalKeys:
        """Give access to journals that only its holder can write; *run*: see `JournalKeys`."""
        return self._holder.journal(self.held, ttl_s=ttl_s, run=run)

    def still_ours(self) -> bool:
        """Ask Redis whether it is still pending as it was taken; renews its lease if so."""
        return self._holder.holds(self.held)

    def settle(self, commit: Commit, *, take_next: bool) -> Settlement:
        """Commit its result and acknowledge it in one step, and in the same take the next if that is wanted."""
        return self._holder.settle(self.held, commit, take_next=take_next)

    def release(self, *, counted: bool) -> bool:
        """Give it back for any worker to take at once; answers whether it was still ours."""
        return self._holder.release(self.held, counted=counted)

    def park(self, throttle_key: str, refused: int, *, watched: str = "", ends_at: float = 0.0) -> bool:
        """Give it back until a throttle has room for its call; answers whether it was still ours."""
        return self._holder.park(self.held, throttle_key, refused, watched=watched, ends_at=ends_at)

    def repeat(self, wait_s: float, *, watched: str = "", ends_at: float = 0.0) -> bool:
        """Give it back to be run again in *wait_s*: this was an attempt of it; answers whether it was still ours."""
        return self._holder.park(self.held, DUE, 0, watched=watched, ends_at=ends_at, due_s=wait_s)
