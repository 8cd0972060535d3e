"""One worker's decisions between items, on a real scoreboard and with nobody at the other end."""

from __future__ import annotations

import os
import resource
from typing import Any, cast

import pytest

from executor_worker.broker import Claim, Consumer, Held
from executor_worker.worker.loop import Worker
from executor_worker.worker.recycling import Limits, Recycling
from supervisor.scoreboard.scoreboard import Scoreboard
from tests.unit.executor_worker.worker.holders import StubHolder, claim

HELD = Held("executor.work", "1-0", 2, "w.1")


class PausedWhileTaking:
    """Brings an item in the moment in which the pool is paused."""

    may_have_unseen = True
    client_id = 1

    def __init__(self, board: Scoreboard, holder: StubHolder) -> None:
        self._board = board
        self._holder = holder

    def take(self, **_: Any) -> Claim:
        self._board.head.paused = True
        return claim(b"{}", self._holder, at=HELD)


@pytest.mark.parametrize("condemned", [True, False])
def test_item_that_comes_with_a_pause(condemned: bool) -> None:
    """It is given back, unless its last worker was ended for it: then it is answered, whatever else is wanted."""
    board = Scoreboard(capacity=1)
    row = board.place(1)
    board.head.gate = True
    if condemned:
        row.record_kill("node_timeout", str(HELD))
    holder = StubHolder()
    unused = cast("Any", None)
    worker = Worker(
        board,
        row,
        cast("Consumer", PausedWhileTaking(board, holder)),
        unused,
        unused,
        unused,
        Recycling(board, row, Limits()),
        unused,
        lambda: 0,
    )
    taken = worker._next()
    assert (taken is not None and taken.held == HELD) is condemned
    assert holder.released == ([] if condemned else [HELD])


@pytest.mark.parametrize(("supervised", "leaks"), [(True, True), (True, False), (False, True)])
def test_worker_without_descriptors_asks_for_its_replacement(supervised: bool, leaks: bool) -> None:
    """After each item, however quick it was: no 100 items in a row take the rest; alone there is nobody to ask."""
    board = Scoreboard(capacity=1)
    row = board.place(1)
    allowed = 4 * max(50, *map(int, os.listdir("/proc/self/fd")))
    child = os.fork()
    if not child:
        try:
            board.head.supervisor_pid = os.getppid() if supervised else os.getpid()
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            recycling = Recycling(board, row, Limits())
            before = recycling.spent()
            if leaks:
                hung_up, other_end = os.pipe()
                os.close(other_end)
                os.dup2(hung_up, 3 * allowed // 4)
            seen = recycling.watch.poll(0) != recycling.unused
            os._exit(99 if before or seen is not leaks else 10 + recycling.spent())
        finally:
            os._exit(98)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10 + (supervised and leaks)
    assert row.wants_replacement is (supervised and leaks)


def test_worker_whose_descriptors_were_few_from_the_start_is_not_replaced_for_that() -> None:
    """Its successor would have no more: only what its items leave open counts."""
    board = Scoreboard(capacity=1)
    row = board.place(1)
    child = os.fork()
    if not child:
        try:
            board.head.supervisor_pid = os.getppid()
            highest = max(map(int, os.listdir("/proc/self/fd")))
            while (lowest := os.dup(0)) < highest:  # so that those to come stand behind all others
                pass
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            recycling = Recycling(board, row, Limits())
            before = recycling.spent()
            for _ in range(8):
                os.dup(0)
            os._exit(10 * before + recycling.spent())
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1 and row.wants_replacement


def test_worker_is_worn_after_so_many_items_or_bytes() -> None:
    """It asks once it has done them; 0 is never."""
    board = Scoreboard(capacity=3)
    rows = [board.place(slot) for slot in (1, 2, 3)]
    recyclings = [
        Recycling(board, row, limits) for row, limits in zip(rows, (Limits(), Limits(2), Limits(0, 1)), strict=True)
    ]
    for recycling in recyclings:
        recycling.weigh(1)
    assert [row.wants_replacement for row in rows] == [False, False, True]
    recyclings[1].weigh(2)
    assert [row.wants_replacement for row in rows] == [False, True, True]
