"""The layout of the pool's table: in the memory it is made in, and in another pool's that is only read."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.scoreboard.cells import WORD
from supervisor.scoreboard.row import SIZE as ROW_BYTES

PAGE = 4096
HEAD_BYTES = 2 * PAGE
CAPACITY_WORD = 18  # of the head: all else follows from it
HEAD_AREAS_BYTES = (16 * PAGE, 16 * PAGE, 64 * PAGE)  # counters of supervisor and keeper, and those inherited


def pages(size: int) -> int:
    return (size + PAGE - 1) // PAGE * PAGE


@dataclass(frozen=True, slots=True)
class Layout:
    """
    Offsets and sizes in bytes.

    Attributes:
        capacity: Slots at most.
        counters_bytes: Of each slot, in whole pages.
    """

    capacity: int
    counters_bytes: int = 32 * PAGE

    @property
    def asked_at(self) -> int:
        """Words by which slots are woken; the head lies before them."""
        return HEAD_BYTES

    @property
    def head_areas(self) -> list[tuple[int, int]]:
        """Offset and size of each of the head's counters."""
        at, areas = self.asked_at + pages(self.capacity * WORD), []
        for size in HEAD_AREAS_BYTES:
            areas.append((at, size))
            at += size
        return areas

    @property
    def rows_at(self) -> int:
        return sum(self.head_areas[-1])

    def row_at(self, index: int) -> int:
        return self.rows_at + index * ROW_BYTES

    def counters_at(self, index: int) -> int:
        return self.rows_at + pages(self.capacity * ROW_BYTES) + index * self.counters_bytes

    @property
    def size(self) -> int:
        return self.counters_at(self.capacity)
