"""
The part of a slot's row that changes with every item: what its worker has in hand and is at, and for how long.

Written by the worker, cheaply: a few of these methods are called for every item. While there is no worker, written by
the supervisor. The texts are not understood here.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from time import monotonic_ns
from typing import Any

from supervisor.scoreboard.cells import READ_ATTEMPTS, WORD, Choice, Number, clip, padded
from supervisor.scoreboard.words import ITEMS_DONE, LEASE_UNTIL, LOST, STATE, RowWord

STATES = ("dead", "starting", "idle", "busy", "draining")
IDLE, BUSY = STATES.index("idle"), STATES.index("busy")
ITEM_FAILURE_CODE = "node_timeout"

# `p` holds its own length in its first byte: one byte less than it says.
RECORD = Struct(
    "<256p256pq40p"  # held, item, item_deadline_ns, failure code at the item's deadline
    "72pqq40p"  # phase, since_ns, deadline_ns, failure code at the deadline
)
HELD, ITEM, LIMIT, LIMIT_CODE, PHASE, SINCE, DEADLINE, CODE = range(8)
HELD_LIMIT, ITEM_LIMIT, PHASE_LIMIT = 255, 255, 71  # bytes
WORDS_KEPT = 1000  # tool names are data from outside
_SINCE = int(RowWord.SINCE)


class CurrentItem:
    """
    One record, written in one step and kept twice as a `Twin` is: what is in hand, and what is being done with it.

    Args:
        ints: The words of the whole row.
        offset: Where the record begins in *shared*.
    """

    __slots__ = ("_copies", "_held", "_item", "_limit", "_limit_code", "_shared", "_version", "_words", "ints")
    SIZE = WORD + 2 * padded(RECORD.size)  # bytes

    # Words of the row; the others are in `row.py`.
    _state = Choice(STATE, STATES)
    since_ns = Number(RowWord.SINCE)  # of the state
    items_done = Number(ITEMS_DONE)

    def __init__(self, ints: memoryview[int], shared: mmap, offset: int) -> None:
        self.ints = ints
        self._shared = shared
        self._version = memoryview(shared)[offset : offset + WORD].cast("q")
        self._copies = (offset + WORD, offset + WORD + padded(RECORD.size))
        self._words = _Words()
        # The record's first half, for its writer.
        self._held = self._item = self._limit_code = b""
        self._limit = 0

    def begin(
        self, held: str, item: str, phase: str, item_deadline_ns: int = 0, on_deadline: str = ITEM_FAILURE_CODE
    ) -> None:
        """
        Say that *held* is in hand.

        Args:
            held: What a successor needs to take over.
            item: Its name for people.
            item_deadline_ns: The worker is killed when it still holds it then, whatever its phase.
            on_deadline: The failure code in that case.

        Raises:
            ValueError: *held* is longer than `HELD_LIMIT` bytes: half a name would be worse than none.
        """
        failure_code = self._words[on_deadline]
        self._held, self._item = whole(held), clip(item, ITEM_LIMIT)
        self._limit, self._limit_code = item_deadline_ns, failure_code
        self._begin(phase, item_deadline_ns, failure_code)

    def take(self, held: str, phase: str, deadline_ns: int, on_deadline: str, lease_until_ns: int) -> None:
        """
        Say that *held* is in hand and nothing is known of it yet; the worker is killed if it still is in *phase* at
        *deadline_ns*.

        Raises:
            ValueError: See `begin`.
        """
        self._held, self._item, self._limit, self._limit_code = whole(held), b"", 0, b""
        self.ints[LOST] = 0
        self.ints[LEASE_UNTIL] = lease_until_ns
        self._begin(phase, deadline_ns, self._words[on_deadline])

    def proceed(self, item: str, phase: str, item_deadline_ns: int, on_deadline: str = ITEM_FAILURE_CODE) -> None:
        """Say what the item in hand is called, and how long it may take; see `begin`."""
        failure_code = self._words[on_deadline]
        self._item, self._limit, self._limit_code = clip(item, ITEM_LIMIT), item_deadline_ns, failure_code
        self._write(self._words[phase], monotonic_ns(), item_deadline_ns, failure_code)

    def enter(self, phase: str, deadline_ns: int = 0, on_deadline: str = ITEM_FAILURE_CODE) -> None:
        """Say what is being done now, and until when at the latest: the item's own deadline holds as well."""
        if self._limit and not 0 < deadline_ns < self._limit:
            self._write(self._words[phase], monotonic_ns(), self._limit, self._limit_code)
        else:
            self._write(self._words[phase], monotonic_ns(), deadline_ns, self._words[on_deadline])

    def finish(self, phase: str, deadline_ns: int = 0, on_deadline: str = "") -> None:
        """Say that the item's own deadline no longer holds: only its result is still to be handed in."""
        self._limit, self._limit_code = 0, b""
        self._write(self._words[phase], monotonic_ns(), deadline_ns, self._words[on_deadline])

    def postpone(self, deadline_ns: int) -> None:
        """Move the deadline of a phase that has one of its own; the item's stays where it is."""
        *_, phase, since_ns, own_ns, failure_code = self._read()
        if own_ns and not self._limit:
            self._write(phase, since_ns, deadline_ns, failure_code)

    def end(self, phase: str = "waiting", *, done: bool = True) -> None:
        """Say that nothing is in hand any more; *done*: one item more was finished."""
        now = monotonic_ns()
        self._have(b"", b"", 0, b"")
        self._write(self._words[phase], now, 0, b"")
        if done:
            self.ints[ITEMS_DONE] += 1
        self.since_ns = now
        self.ints[STATE] = IDLE

    def count_done(self) -> None:
        """Count an item more; the next is in hand already."""
        self.ints[ITEMS_DONE] += 1

    @property
    def activity(self) -> str:
        """The state as the worker wrote it: starting, idle or busy also while it is asked to leave."""
        return self._state

    @property
    def held(self) -> str:
        return text(self._read()[HELD])

    @held.setter
    def held(self, held: str) -> None:
        _, item, *limit, phase, since_ns, deadline_ns, failure_code = self._read()
        self._have(whole(held), item, *limit)
        self._write(phase, since_ns, deadline_ns, failure_code)

    @property
    def item(self) -> str:
        return text(self._read()[ITEM])

    @item.setter
    def item(self, item: str) -> None:
        held, _, *limit, phase, since_ns, deadline_ns, failure_code = self._read()
        self._have(held, clip(item, ITEM_LIMIT), *limit)
        self._write(phase, since_ns, deadline_ns, failure_code)

    @property
    def item_deadline_ns(self) -> int:
        return int(self._read()[LIMIT])

    @property
    def phase(self) -> str:
        return text(self._read()[PHASE])

    @phase.setter
    def phase(self, phase: str) -> None:
        self._have(*self._read()[:PHASE])
        self.enter(phase)

    @property
    def phase_since_ns(self) -> int:
        return int(self._read()[SINCE])

    @property
    def deadline_ns(self) -> int:
        """The time at which the worker is killed unless it goes on: the phase's or the item's, whichever is first."""
        return int(self._read()[DEADLINE])

    @property
    def on_deadline(self) -> str:
        return text(self._read()[CODE])

    # Only while the slot has no worker.

    def leave_to_successor(self) -> None:
        """Keep what is in hand, for the next worker; not its time limit, or that one would be killed for it."""
        held, item, *_ = self._read()
        self._have(held, item, 0, b"")
        self._write(b"starting", monotonic_ns(), 0, b"")

    def forget(self) -> None:
        """Have nothing in hand, and be at nothing."""
        self._have(b"", b"", 0, b"")
        self._write(b"", 0, 0, b"")

    def _begin(self, phase: str, deadline_ns: int, failure_code: bytes) -> None:
        now = monotonic_ns()
        # In this order a kill in between leaves at worst an item in hand that was not begun.
        self._write(self._words[phase], now, deadline_ns, failure_code)
        self.ints[_SINCE] = now
        self.ints[STATE] = BUSY

    def _have(self, held: bytes, item: bytes, limit: int, limit_code: bytes) -> None:
        self._held, self._item, self._limit, self._limit_code = held, item, limit, limit_code

    def _write(self, phase: bytes, since_ns: int, deadline_ns: int, failure_code: bytes) -> None:
        version = self._version[0] + 1
        RECORD.pack_into(
            self._shared, self._copies[version & 1], self._held, self._item, self._limit, self._limit_code,
            phase, since_ns, deadline_ns, failure_code,
        )  # fmt: skip
        self._version[0] = version

    def _read(self) -> tuple[Any, ...]:
        values: tuple[Any, ...] = ()
        for _ in range(READ_ATTEMPTS):
            version = self._version[0]
            values = RECORD.unpack_from(self._shared, self._copies[version & 1])
            if self._version[0] == version:
                break
        return values


class _Words(dict[str, bytes]):
    """Phases and failure codes as they are written: they are few, and come again and again."""

    def __missing__(self, word: str) -> bytes:
        if len(self) > WORDS_KEPT:
            self.clear()
        written = self[word] = clip(word, PHASE_LIMIT)
        return written


def whole(held: str) -> bytes:
    """
    Encode *held*.

    Raises:
        ValueError: It is too long; half of it would be worse than none.
    """
    raw = held.encode()
    if len(raw) > HELD_LIMIT:
        raise ValueError(f"held is {len(raw)} bytes long, at most {HELD_LIMIT} fit: shorten the worker's name")
    return raw


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
