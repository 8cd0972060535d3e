"""
The part of a slot's row that changes with every item: what its worker has in hand, runs and is at, and for how long.

Written by the worker, cheaply: a few of these methods are called for every item. While there is no worker, written by
the supervisor. The texts are not understood here.
"""

from __future__ import annotations

from mmap import mmap
from time import monotonic_ns

from supervisor.scoreboard.cells import Number, clip
from supervisor.scoreboard.item_record import (
    HELD,
    HELD_LIMIT,
    ITEM,
    ITEM_LIMIT,
    LIMIT,
    PHASE,
    PHASE_LIMIT,
    RECORD,
    RUN_NAME,
    STATES,
    WATCHED_BYTES,
    WATCHED_LIMIT,
    ItemRecord,
    text,
)
from supervisor.scoreboard.words import (
    ATTEMPT,
    ITEMS_DONE,
    LAST_DONE,
    LEASE_UNTIL,
    LEAVING,
    LOST,
    NOTICED,
    PAUSED,
    REDIS_UP,
    RUN,
    STATE,
    STOP_RUN,
    TOOLS_UNANSWERED,
    UNWATCHED_RUN,
    RowWord,
)

IDLE, BUSY = STATES.index("idle"), STATES.index("busy")
ITEM_FAILURE_CODE = "node_timeout"

WORDS_KEPT = 1000  # tool names are data from outside
_SINCE = int(RowWord.SINCE)
_NO_ITEM = (b"", b"", 0, b"")


class CurrentItem(ItemRecord):
    """
    Written by the worker, which also looks here at what the whole pool is asked for.

    Args:
        pool: The words of the pool's head.
    """

    __slots__ = ("_doing", "_item", "_pool", "_progress", "_watched", "_words")

    # Words of the row; the others are in `row.py`.
    since_ns = Number(RowWord.SINCE)  # of the state
    items_done = Number(ITEMS_DONE)

    def __init__(self, ints: memoryview[int], shared: mmap, offset: int, pool: memoryview[int]) -> None:
        super().__init__(ints, shared, offset)
        self._pool = pool
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

    def may_begin(self, run: int, now_ns: int) -> bool:
        """Tell whether *run* may begin a step: it goes on, and its worker need not see for itself whether it should."""
        words = self.ints
        if words[STOP_RUN] == run or words[UNWATCHED_RUN] == run:
            return False
        return not words[LOST] and words[LEASE_UNTIL] >= now_ns

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

    def may_take(self, noticed: int) -> bool:
        """
        Tell whether the worker may take the next item at once: it was not asked to leave, and there is no pause.

        Args:
            noticed: The keeper's notice that it has tried; another one comes before new items.
        """
        pool = self._pool
        return not self.ints[LEAVING] and not pool[PAUSED] and pool[NOTICED] in (0, noticed)

    def may_hold_tools_back(self) -> bool:
        """Tell whether calls of tools may have to be held back, as far as the keeper knows."""
        return self._pool[TOOLS_UNANSWERED] != 0 and self._pool[REDIS_UP] != 0

    def note_done(self, wall_ns: int) -> None:
        """Note for the pool when an item was settled."""
        self._pool[LAST_DONE] = wall_ns

    def count_done(self) -> None:
        """Count an item more; the next is in hand already."""
        self.ints[ITEMS_DONE] += 1

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
    def phase(self) -> str:
        return text(self._read()[PHASE])

    @phase.setter
    def phase(self, phase: str) -> None:
        self._recall()
        self.enter(phase)

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
