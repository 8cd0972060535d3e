"""What predecessors have counted goes on counting, read from their tables without mapping them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.scoreboard.inherited_counters import inherit
from supervisor.scoreboard.scoreboard import Scoreboard


@pytest.fixture
def boards() -> Iterator[list[Scoreboard]]:
    """Three pools' tables, one after the other."""
    made = [Scoreboard(4, first_slot=first) for first in (1, 3, 5)]
    yield made
    for board in made:
        board.close()


def totals(board: Scoreboard) -> dict[bytes, float]:
    found: dict[bytes, float] = {}
    for area in board.all_counters():
        for key, value in area.items().items():
            found[key] = found.get(key, 0.0) + value
    return found


def hand_over(old: Scoreboard, new: Scoreboard) -> None:
    """As a successor gets them: descriptors of its own."""
    assert inherit(new, [os.dup(fd) for fd in old.tables]) == []


def test_a_draining_predecessor_counts_on(boards: list[Scoreboard]) -> None:
    """All its areas, also those of slots that are gone, and what is added later; until it has stopped, and then too."""
    old, new, _ = boards
    for area in (old.head.counters, old.head.keeper_counters, old.place(1).counters, old.place(2).counters):
        area.add(b"x", 1)
    old.remove(2)
    old.head.last_done_wall_ns = 77
    new.place(3).counters.add(b"x", 10)
    hand_over(old, new)
    assert totals(new) == {b"x": 14} and new.head.last_done_wall_ns == 77
    old.row(1).counters.add(b"y", 1)
    assert totals(new) == {b"x": 14, b"y": 1}
    old.head.mode = "stopped"
    assert totals(new) == totals(new) == {b"x": 14, b"y": 1}


def test_generations_add_up(boards: list[Scoreboard]) -> None:
    """What has ended is taken over for good, what drains is handed on; nothing is counted twice."""
    first, second, third = boards
    first.place(1).counters.add(b"x", 1)
    hand_over(first, second)
    second.place(3).counters.add(b"x", 10)
    first.head.mode = "stopped"
    hand_over(second, third)
    assert len(third.predecessors) == 1, "the first has ended"
    third.place(5).counters.add(b"x", 100)
    second.row(3).counters.add(b"x", 10)
    assert totals(third) == {b"x": 121}


def test_two_that_drain_are_both_handed_on(boards: list[Scoreboard]) -> None:
    """Upgrades that follow each other closely."""
    first, second, third = boards
    hand_over(first, second)
    hand_over(second, third)
    first.place(1).counters.add(b"x", 1)
    second.place(3).counters.add(b"x", 10)
    assert totals(third) == {b"x": 11}


def test_another_versions_table_is_left_out(boards: list[Scoreboard]) -> None:
    """The totals begin anew then."""
    other = os.memfd_create("other")
    os.ftruncate(other, 4096)
    assert inherit(boards[0], [other]) == [other]
    assert totals(boards[0]) == {} and not Path(f"/proc/self/fd/{other}").exists()


def test_a_predecessor_is_not_mapped(boards: list[Scoreboard]) -> None:
    """Else whoever clears away after a killed predecessor would take its successor for something it has left."""
    old, new, _ = boards
    before = mappings()
    hand_over(old, new)
    totals(new)
    assert mappings() == before


def mappings() -> int:
    return Path("/proc/self/maps").read_text().count("executor-scoreboard")
