"""
Inherited counters: a successor by SIGUSR2 goes on from its predecessors' counts, so that no total goes down.

Their tables are read through descriptors and never mapped: by such a mapping a keeper whose supervisor was killed finds
what it has to kill.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from struct import Struct

from supervisor.scoreboard.cells import WORD
from supervisor.scoreboard.counters import Counters
from supervisor.scoreboard.layout import CAPACITY_WORD, Layout
from supervisor.scoreboard.scoreboard import MODES, Head, Scoreboard

_WORDS = Struct("=32q")


class InheritedCounters:
    """
    One predecessor's table; it may still be added to, while that drains.

    Args:
        fd: Of its memory; ours from now on.

    Raises:
        ValueError: It is another version's.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._layout = Layout(int.from_bytes(os.pread(fd, WORD, CAPACITY_WORD * WORD), sys.byteorder))
        if os.fstat(fd).st_size != self._layout.size:
            raise ValueError("another version's table")
        self._last: dict[bytes, float] | None = None

    @property
    def ended(self) -> bool:
        """Tell whether the predecessor has stopped by itself: then it adds nothing any more."""
        return MODES[self._words()[Head.mode.at]] == "stopped"

    @property
    def last_done_wall_ns(self) -> int:
        return self._words()[Head.last_done_wall_ns.at]

    def items(self) -> Mapping[bytes, float]:
        """Every key with its total."""
        if self._last is not None:
            return self._last
        ended, found = self.ended, self._read()
        if ended:
            self._last = found
        return found

    def close(self) -> None:
        os.close(self.fd)

    def _read(self) -> dict[bytes, float]:
        words, layout = self._words(), self._layout
        slots = words[Head.highest_slot.at] - words[Head.first_slot.at] + 1
        areas = [*layout.head_areas, *((layout.counters_at(index), layout.counters_bytes) for index in range(slots))]
        totals: dict[bytes, float] = {}
        for at, size in areas:
            for key, value in self._area(at, size).items():
                totals[key] = totals.get(key, 0.0) + value
        return totals

    def _area(self, at: int, size: int) -> dict[bytes, float]:
        if not any(os.pread(self.fd, WORD, at)):  # most slots' areas have no key
            return {}
        return Counters(bytearray(os.pread(self.fd, size, at)), 0, size).items()

    def _words(self) -> tuple[int, ...]:
        return _WORDS.unpack(os.pread(self.fd, _WORDS.size, 0))


def inherit(board: Scoreboard, tables: list[int]) -> list[int]:
    """
    Have *board* go on from what was counted in predecessors' *tables*, given by their descriptors.

    What has ended is added to our own; what still drains is read again and again.

    Returns:
        Those that can't be read, closed: another version's.
    """
    strange = []
    for fd in tables:
        try:
            predecessor = InheritedCounters(fd)
        except ValueError:
            os.close(fd)
            strange.append(fd)
            continue
        board.head.last_done_wall_ns = max(board.head.last_done_wall_ns, predecessor.last_done_wall_ns)
        if predecessor.ended:
            for key, value in predecessor.items().items():
                board.head.inherited.add(key, value)
            predecessor.close()
        else:
            board.predecessors.append(predecessor)
    return strange
