"""
The part of a slot's row that changes with every item: what its worker has in hand, runs and is at, and for how long.

Written by the worker, cheaply: a few of these methods are called for every item. While there is no worker, written by
the supervisor. The texts are not understood here.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from time import monotonic_ns
from typing import Any

from supervisor.scoreboard.cells import READ_ATTEMPTS, WORD, Choice, Number, clip, padded
from supervisor.scoreboard.progress import Progress, progress_of
from supervisor.scoreboard.words import (
    ATTEMPT,
    ITEMS_DONE,
    LEASE_UNTIL,
    LEAVING,
    LOST,
    RUN,
    STATE,
    STOP_RUN,
    UNWATCHED_RUN,
    RowWord,
)

STATES = ("dead", "starting", "idle", "busy", "draining")
IDLE, BUSY = STATES.index("idle"), STATES.index("busy")
ITEM_FAILURE_CODE = "node_timeout"

# `p` holds its own length in its first byte: one byte less than it says.
RECORD = Struct(
    "<256p256pq40p"  # held, item, item_deadline_ns, failure code at the item's deadline
    "72pqq40p"  # phase, since_ns, deadline_ns, failure code at the deadline
    "H510s"  # where the keeper sees whether the item is still wanted: its length, and the key
    "q16pqqq"  # run, and how far it has got: what `Progress` holds
)
HELD, ITEM, LIMIT, LIMIT_CODE, PHASE, SINCE, DEADLINE, CODE, WATCHED_BYTES, WATCHED, RUN_NAME = range(11)
HELD_LIMIT, ITEM_LIMIT, PHASE_LIMIT, WATCHED_LIMIT = 255, 255, 71, 510  # bytes
WORDS_KEPT = 1000  # tool names are data from outside
_SINCE = int(RowWord.SINCE)
_NO_ITEM = (b"", b"", 0, b"")


class CurrentItem:
    """
    One record, written in one step and kept twice as a `Twin` is: what is in hand, what is being done with it, which
    run of it that is and how far it has got.

    Args:
        ints: The words of the whole row.
        offset: Where the record begins in *shared*.
    """

    __slots__ = ("_copies", "_doing", "_item", "_progress", "_shared", "_version", "_watched", "_words", "ints")
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
        # The record by its parts, for its writer.
        self._item: tuple[bytes, bytes, int, bytes] = _NO_ITEM
        self._doing: tuple[bytes, int, int, bytes] = (b"", 0, 0, b"")
        self._watched: tuple[int, bytes] = (0, b"")
        self._progress: tuple[int, bytes, int, int, int] = (0, b"", 0, 0, 0)

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
        self._item = whole(held), clip(item, ITEM_LIMIT), item_deadline_ns, failure_code
        self._begin(phase, item_deadline_ns, failure_code)

    def take(self, held: str, phase: str, deadline_ns: int, on_deadline: str, lease_until_ns: int) -> None:
        """
        Say that *held* is in hand and nothing is known of it yet; the worker is killed if it still is in *phase* at
        *deadline_ns*.

        Raises:
            ValueError: See `begin`.
        """
        self._item = whole(held), b"", 0, b""
        self.ints[LOST] = 0
        self.ints[LEASE_UNTIL] = lease_until_ns
        self._begin(phase, deadline_ns, self._words[on_deadline])

    def begin_run(self, item: str, phase: str, deadline_ns: int, watched: str, attempt: int = 1) -> int:
        """
        Say that what is in hand is run from now on, until `end_run`; returns the run's name.

        Args:
            item: What it is called, for people.
            deadline_ns: How long it may take: see `begin`.
            watched: Where the keeper sees whether it is still wanted; what is too long is not watched.
            attempt: Which run of the item it is, from 1.
        """
        words, label, key = self.ints, item.encode("utf-8", "replace"), watched.encode()
        if len(label) > ITEM_LIMIT:
            label = clip(item, ITEM_LIMIT)
        if len(key) > WATCHED_LIMIT:
            key = b""
        failure_code, run = self._words[ITEM_FAILURE_CODE], monotonic_ns()
        held, *_ = self._item
        self._item = held, label, deadline_ns, failure_code
        self._watched, self._progress = (len(key), key), (run, b"", 0, 0, 0)
        self._write((self._words[phase], run, deadline_ns, failure_code))
        words[ATTEMPT] = attempt
        words[RUN] = run
        if not key:
            words[UNWATCHED_RUN] = run
        return run

    def show(self, mode: str, step: int, steps: int, ends_ns: int) -> None:
        """Show how far the current run has got; see `Progress`."""
        self._progress = self.ints[RUN], self._words[mode], step, steps, ends_ns
        self._write(self._doing)

    def enter(self, phase: str, deadline_ns: int = 0, on_deadline: str = ITEM_FAILURE_CODE) -> None:
        """Say what is being done now, and until when at the latest: the item's own deadline holds as well."""
        _, _, limit, limit_code = self._item
        if limit and not 0 < deadline_ns < limit:
            self._write((self._words[phase], monotonic_ns(), limit, limit_code))
        else:
            self._write((self._words[phase], monotonic_ns(), deadline_ns, self._words[on_deadline]))

    def goes_on(self, run: int, now_ns: int) -> bool:
        """Tell whether nothing in this row speaks against going on with *run*; the worker asks many times in each."""
        words = self.ints
        return words[STOP_RUN] != run and not words[LOST] and words[LEASE_UNTIL] >= now_ns

    def goes_unwatched(self, run: int) -> bool:
        """Tell whether *run*'s worker has to see for itself whether it is still wanted."""
        return self.ints[UNWATCHED_RUN] == run

    def end_run(self) -> None:
        self.ints[RUN] = 0

    def finish(self, phase: str, deadline_ns: int = 0, on_deadline: str = "") -> None:
        """Say that the item's own deadline no longer holds: only its result is still to be handed in."""
        held, item, _, _ = self._item
        self._item = held, item, 0, b""
        self._write((self._words[phase], monotonic_ns(), deadline_ns, self._words[on_deadline]))

    def postpone(self, deadline_ns: int) -> None:
        """Move the deadline of a phase that has one of its own; the item's stays where it is."""
        self._recall()
        phase, since_ns, own_ns, failure_code = self._doing
        if own_ns and not self._item[LIMIT]:
            self._write((phase, since_ns, deadline_ns, failure_code))

    def end(self, phase: str = "waiting", *, done: bool = True) -> None:
        """Say that nothing is in hand any more; *done*: one item more was finished."""
        now = monotonic_ns()
        self._item = _NO_ITEM
        self._write((self._words[phase], now, 0, b""))
        if done:
            self.ints[ITEMS_DONE] += 1
        self.since_ns = now
        self.ints[STATE] = IDLE

    @property
    def may_take(self) -> bool:
        """Tell whether nothing in this row speaks against taking the next item: the worker was not asked to leave."""
        return not self.ints[LEAVING]

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
        self._recall()
        _, item, limit, limit_code = self._item
        self._item = whole(held), item, limit, limit_code
        self._write(self._doing)

    @property
    def item(self) -> str:
        return text(self._read()[ITEM])

    @item.setter
    def item(self, item: str) -> None:
        self._recall()
        held, _, limit, limit_code = self._item
        self._item = held, clip(item, ITEM_LIMIT), limit, limit_code
        self._write(self._doing)

    @property
    def item_deadline_ns(self) -> int:
        return int(self._read()[LIMIT])

    @property
    def phase(self) -> str:
        return text(self._read()[PHASE])

    @phase.setter
    def phase(self, phase: str) -> None:
        self._recall()
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

    @property
    def watched(self) -> str:
        found = self._read()
        return str(found[WATCHED][: found[WATCHED_BYTES]], "utf-8")

    @property
    def progress(self) -> Progress:
        """The progress of the current run, as its worker has shown it."""
        return progress_of(self.ints[RUN], self._read()[RUN_NAME:])

    # Only while the slot has no worker.

    def leave_to_successor(self) -> None:
        """Keep what is in hand, for the next worker; not its time limit, or that one would be killed for it."""
        held, item, *_ = self._read()
        self._item = held, item, 0, b""
        self._write((b"starting", monotonic_ns(), 0, b""))

    def forget(self) -> None:
        """Have nothing in hand, and be at nothing."""
        self._item = _NO_ITEM
        self._write((b"", 0, 0, b""))

    def _begin(self, phase: str, deadline_ns: int, failure_code: bytes) -> None:
        now = monotonic_ns()
        # In this order a kill in between leaves at worst an item in hand that was not begun.
        self._write((self._words[phase], now, deadline_ns, failure_code))
        self.ints[_SINCE] = now
        self.ints[STATE] = BUSY

    def _recall(self) -> None:
        """Take up what another process may have written, to change a part of it."""
        found = self._read()
        self._item, self._doing = found[:PHASE], found[PHASE:WATCHED_BYTES]
        self._watched, self._progress = found[WATCHED_BYTES:RUN_NAME], found[RUN_NAME:]

    def _write(self, doing: tuple[bytes, int, int, bytes]) -> None:
        self._doing = doing
        version = self._version[0] + 1
        at = self._copies[version & 1]
        RECORD.pack_into(self._shared, at, *self._item, *doing, *self._watched, *self._progress)
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
