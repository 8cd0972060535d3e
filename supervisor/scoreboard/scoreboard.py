"""
The pool as one table in shared memory: a head for the whole, a row for each slot.

Made before the first fork, inherited by every child, gone with the last of them. No lock is taken: the
writers are named in `row.py`, and how a reader is never misled in `cells.py`. The memory of a row is only taken when it
is used. It is a file without a folder, so that another process of the same user can look at it too (`discovery.py`).
"""

from __future__ import annotations

import mmap as memory
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from mmap import mmap
from typing import Protocol
from zlib import crc32

from supervisor.scaling import REASONS
from supervisor.scoreboard.cells import WORD, Choice, Flag, Number, Text
from supervisor.scoreboard.counters import Counters
from supervisor.scoreboard.layout import CAPACITY_WORD, HEAD_BYTES, PAGE, Layout, pages
from supervisor.scoreboard.progress import Progress
from supervisor.scoreboard.row import Row
from supervisor.scoreboard.wakeups import EventFd, Wakeups
from supervisor.scoreboard.words import LAST_DONE, LOG_LEVEL, NOTICED, PAUSED, REDIS_UP, TOOLS_UNANSWERED

__all__ = ["LEVELS", "MODES", "Head", "Progress", "Row", "Scoreboard"]

LEVELS = ("", "debug", "info", "warn", "error")
MODES = ("starting", "running", "reloading", "draining", "stopped")
FILE_NAME = "executor-scoreboard"
HIDDEN_NAME = "executor-services"
HEAD_WORDS = 32
REASON_LIMIT, NOTICE_LIMIT, NAME_LIMIT, ADDRESS_LIMIT, AWAY_LIMIT = 700, 700, 128, 108, 200  # bytes
HELD_BACK_LIMIT = 500


class Totals(Protocol):
    """Sums of one part of the counters, by key."""

    def items(self) -> Mapping[bytes, float]: ...


class Predecessor(Totals, Protocol):
    """Another pool's table, which is counted in; see `inherited_counters.py`."""

    fd: int


class Head:
    """The pool's own part of the scoreboard; the supervisor writes it, unless a field says otherwise."""

    __slots__ = (
        *("_away", "_control", "_held_back", "_name", "_notice", "_reason"),
        *("counters", "inherited", "ints", "keeper_counters"),
    )

    supervisor_beat_ns = Number(0)
    keeper_beat_ns = Number(1)  # by the keeper
    mode = Choice(2, MODES)
    paused = Flag(PAUSED)  # by SIGTSTP: take nothing
    configured = Number(4)  # slots wanted
    first_slot = Number(5)
    highest_slot = Number(6)  # of all there ever were
    superseded = Flag(7)  # a successor has taken over: leave shared names to it
    redis_up = Flag(REDIS_UP)  # by the keeper
    redis_epoch = Number(9)  # by the keeper
    gate = Flag(10)  # by the keeper: workers may take
    last_done_wall_ns = Number(LAST_DONE)  # by the workers; wall clock
    supervisor_pid = Number(12)
    keeper_pid = Number(13)
    keeper_restarts = Number(14)
    started_ns = Number(15)
    heir = Flag(16)  # a predecessor still answers for us
    noticed = Number(NOTICED)  # by the keeper: changes with each notice, 0 while there is none
    capacity = Number(CAPACITY_WORD)  # slots at most: what the size of all else follows from
    log_level = Choice(LOG_LEVEL, LEVELS)  # in place of the settings'; '' = theirs
    throttled = Flag(20)  # by the keeper: workers may have to hold calls back
    keeper_dismissed = Flag(21)  # its SIGTERM is meant for it, and not for the whole process group
    on_trial = Flag(22)  # new settings are being rolled out: who finds them wrong says so, and the old ones come back

    tools_unanswered = Flag(TOOLS_UNANSWERED)  # by the keeper: workers may have to hold calls of tools back
    port = Number(23)  # where the pool answers over HTTP; 0: nowhere
    demand = Number(25)  # by the keeper: items in hand and waiting, at a time when no worker was free; else 0
    room = Number(26)  # by the keeper: so many more workers fit into memory
    least = Number(27)  # slots; the pool scales itself if this is not `most`
    most = Number(28)
    scaled = Choice(29, REASONS)  # why there are as many slots as there are
    known_groups = Number(31)  # by the workers and the keeper: a sum of the streams whose groups they have found
    lost_wall_ns = Number(24)  # when a stream or its group was last found lost; wall clock, by its finder

    def __init__(self, shared: mmap, offset: int, areas: list[tuple[int, int]]) -> None:
        words_end = offset + HEAD_WORDS * WORD
        self.ints: memoryview[int] = memoryview(shared)[offset:words_end].cast("q")
        # The supervisor's, the keeper's, which outlive it, and those of predecessors that have ended.
        self.counters, self.keeper_counters, self.inherited = (Counters(shared, at, size) for at, size in areas)
        found = texts(shared, words_end, offset + HEAD_BYTES)
        self._reason, self._notice, self._name, self._control, self._away, self._held_back = found

    @property
    def reason(self) -> str:
        """A sentence on why the pool stops or can't start; set by a child before it exits with such a status."""
        return self._reason.read()

    @reason.setter
    def reason(self, reason: str) -> None:
        self._reason.write(reason)

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._name.read()

    @property
    def control(self) -> str:
        """The address at which the supervisor takes commands; empty if it takes none."""
        return self._control.read()

    def introduce(self, name: str, control: str, port: int) -> None:
        """Say what the pool is called, where it takes commands and on which port it answers, 0 for none."""
        self._name.write(name)
        self._control.write(control)
        self.port = port

    @property
    def away(self) -> str:
        """A sentence on why Redis does not serve us, or not as it should; the keeper writes it."""
        return self._away.read()

    @away.setter
    def away(self, reason: str) -> None:
        self._away.write(reason)

    @property
    def held_back(self) -> str:
        """A sentence on what the pool can't do, though it is whole and Redis is there; the keeper writes it."""
        return self._held_back.read()

    @held_back.setter
    def held_back(self, reason: str) -> None:
        self._held_back.write(reason)

    def knows_groups(self, streams: Sequence[str]) -> bool:
        """Tell whether a process of this pool has found the groups of just these streams."""
        return self.known_groups == _sum_of(streams)

    def note_groups(self, streams: Sequence[str]) -> None:
        """Say that the groups of these streams were found: one that is missing from now on was lost."""
        self.known_groups = _sum_of(streams)

    @property
    def notice(self) -> str:
        """The keeper's notice to all workers; the supervisor does not read it."""
        return self._notice.read()

    def post(self, notice: str, number: int) -> None:
        """Put up *notice* under *number*, which is 0 if there is nothing to say."""
        self._notice.write(notice)
        self.noticed = number


def _sum_of(names: Sequence[str]) -> int:
    """Return a number that stands for these names; never 0."""
    return crc32(" ".join(names).encode()) + 1


def texts(shared: mmap, at: int, end: int) -> list[Text]:
    """Lay out the head's texts, one after the other."""
    found = []
    for limit in (REASON_LIMIT, NOTICE_LIMIT, NAME_LIMIT, ADDRESS_LIMIT, AWAY_LIMIT, HELD_BACK_LIMIT):
        found.append(Text(shared, at, limit))
        at += Text.size(limit)
    assert at <= end
    return found


class Scoreboard:
    """
    Args:
        capacity: Slots at most.
        counters_bytes: Room for each slot's totals; memory is taken as it is used.
        first_slot: Number of the first slot; more than 1 beside a predecessor whose slots must not be named again.
        shown_by: A descriptor of another process' table of that capacity; only to be read.
        hidden: It is not the pool's: who looks for pools from outside does not find it.

    Raises:
        ValueError: What *shown_by* leads to is of another size, so of another version.
    """

    def __init__(
        self,
        capacity: int = 1024,
        counters_bytes: int = 32 * PAGE,
        first_slot: int = 1,
        *,
        shown_by: int | None = None,
        hidden: bool = False,
    ) -> None:
        self._layout = layout = Layout(capacity, pages(counters_bytes))
        self.capacity = capacity
        self.fd = (
            _new_file(layout.size, HIDDEN_NAME if hidden else FILE_NAME) if shown_by is None else None
        )  # of the memory; for a successor to read
        self.shared = _others_memory(shown_by, layout.size) if self.fd is None else mmap(self.fd, layout.size)
        self.predecessors: list[Predecessor] = []
        self.event_fd = EventFd()  # for the supervisor: something changed
        self.keeper_event_fd = EventFd()  # for the keeper
        self.head = Head(self.shared, 0, layout.head_areas)
        if shown_by is None:
            self.head.capacity = capacity
            self.head.first_slot = first_slot
            self.head.highest_slot = first_slot - 1
        first_slot = self.head.first_slot
        asked = memoryview(self.shared)[layout.asked_at : layout.asked_at + capacity * WORD].cast("q")
        self.wakeups = Wakeups(self.event_fd, asked, first_slot)
        self._first = first_slot
        self._rows: dict[int, Row] = {}

    @classmethod
    def shown(cls, fd: int) -> Scoreboard:
        """
        Another process' table, by a descriptor of its memory; only to be read.

        Raises:
            ValueError: It is another version's.
        """
        capacity = int.from_bytes(os.pread(fd, WORD, CAPACITY_WORD * WORD), sys.byteorder)
        return cls(capacity, shown_by=fd)

    def row(self, slot: int) -> Row:
        """
        The row of the slot of this number, placed or not.

        Raises:
            IndexError: The table has no such slot.
        """
        row = self._rows.get(slot)
        if row is None:
            row = self._rows[slot] = self._make_row(slot)
        return row

    def rows(self) -> list[Row]:
        """The rows of all slots there are now, by number."""
        return [row for row in self._all_rows() if row.placed]

    def listed(self) -> list[Row]:
        """The rows of all slots that others can see by their names, those that are gone included."""
        return [row for row in self._all_rows() if row.listed]

    def place(self, slot: int) -> Row:
        """Open *slot*; its totals go on from where a former slot of this number left them."""
        row = self.row(slot)
        self.wakeups.make(slot)
        row.clear()
        self.head.highest_slot = max(self.head.highest_slot, slot)
        row.placed = True
        return row

    def remove(self, slot: int) -> None:
        """Close *slot*."""
        self.row(slot).placed = False

    def all_counters(self) -> list[Totals]:
        """Every area that was ever added to: those of slots that are gone, and of predecessors, count on."""
        numbers, head = range(self._first, self.head.highest_slot + 1), self.head
        slots = (self.row(slot).counters for slot in numbers)
        return [head.counters, head.keeper_counters, head.inherited, *slots, *self.predecessors]

    @property
    def refused(self) -> float:
        """The sum of what all counters here were given under keys for which there was no room."""
        return sum(area.refused for area in self.all_counters() if isinstance(area, Counters))

    @property
    def tables(self) -> list[int]:
        """Descriptors of all tables that are counted here, for a successor: it counts on."""
        return [fd for fd in (self.fd, *(predecessor.fd for predecessor in self.predecessors)) if fd is not None]

    def close(self) -> None:
        """Give back the descriptors; the memory goes with the last process."""
        self.wakeups.close()
        self.event_fd.close()
        self.keeper_event_fd.close()
        for fd in self.tables:
            os.close(fd)
        self.fd = None
        self.predecessors.clear()

    def _all_rows(self) -> Iterator[Row]:
        return map(self.row, range(self._first, self.head.highest_slot + 1))

    def _make_row(self, slot: int) -> Row:
        index = slot - self._first
        if not 0 <= index < self.capacity:
            raise IndexError(f"slot {slot} is not one of {self._first} to {self._first + self.capacity - 1}")
        layout = self._layout
        counters = Counters(self.shared, layout.counters_at(index), layout.counters_bytes)
        return Row(slot, self.shared, layout.row_at(index), counters, self.wakeups, self.head.ints)


def _new_file(size: int, name: str) -> int:
    fd = os.memfd_create(name)
    os.ftruncate(fd, size)
    return fd


def _others_memory(fd: int | None, size: int) -> mmap:
    assert fd is not None
    found = os.fstat(fd).st_size
    if found != size:
        raise ValueError(f"a scoreboard of {found} bytes, not {size}: it is another version's")
    return mmap(fd, size, prot=memory.PROT_READ)
