"""The record of what a slot's worker has in hand, runs and is at, as it is read; `current_item.py` writes it."""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from typing import Any

from supervisor.scoreboard.cells import READ_ATTEMPTS, WORD, Choice, padded
from supervisor.scoreboard.progress import Progress, progress_of
from supervisor.scoreboard.words import RUN, STATE

STATES = ("dead", "starting", "idle", "busy", "draining")
# `p` holds its own length in its first byte: one byte less than it says.
RECORD = Struct(
    "<256p256pq40p"  # held, item, item_deadline_ns, failure code at the item's deadline
    "72pqq40p"  # phase, since_ns, deadline_ns, failure code at the deadline
    "H510s"  # where the keeper sees whether the item is still wanted: its length, and the key
    "q16pqqq"  # run, and how far it has got: what `Progress` holds
)
HELD, ITEM, LIMIT, LIMIT_CODE, PHASE, SINCE, DEADLINE, CODE, WATCHED_BYTES, WATCHED, RUN_NAME = range(11)
HELD_LIMIT, ITEM_LIMIT, PHASE_LIMIT, WATCHED_LIMIT = 255, 255, 71, 510  # bytes


class ItemRecord:
    """
    One record, written in one step and kept twice as a `Twin` is: what is in hand, what is being done with it, which
    run of it that is and how far it has got. One process may write at a time.

    Args:
        ints: The words of the whole row.
        offset: Where the record begins in *shared*.
    """

    __slots__ = ("_copies", "_shared", "_version", "ints")
    SIZE = WORD + 2 * padded(RECORD.size)  # bytes

    _state = Choice(STATE, STATES)

    def __init__(self, ints: memoryview[int], shared: mmap, offset: int) -> None:
        self.ints = ints
        self._shared = shared
        self._version = memoryview(shared)[offset : offset + WORD].cast("q")
        self._copies = (offset + WORD, offset + WORD + padded(RECORD.size))

    @property
    def activity(self) -> str:
        """The state as the worker wrote it: starting, idle or busy also while it is asked to leave."""
        return self._state

    @property
    def item_deadline_ns(self) -> int:
        return int(self._read()[LIMIT])

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

    def _read(self) -> tuple[Any, ...]:
        values: tuple[Any, ...] = ()
        for _ in range(READ_ATTEMPTS):
            version = self._version[0]
            values = RECORD.unpack_from(self._shared, self._copies[version & 1])
            if self._version[0] == version:
                break
        return values


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
