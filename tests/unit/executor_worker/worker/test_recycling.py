"""When a worker asks to be replaced for what it has in memory; what it leaves open is a matter of scenario 26."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from executor_worker.worker.recycling import Limits, Recycling
from supervisor.scoreboard.scoreboard import Scoreboard


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard(1)
    yield board
    board.close()


@pytest.mark.parametrize(("share", "asks"), [(0.5, True), (2.0, False)])
def test_worker_asks_to_be_replaced_beyond_its_memory(board: Scoreboard, share: float, asks: bool) -> None:
    """Weighed after each item, by what the kernel says it has in memory."""
    weight = psutil.Process().memory_info().rss
    recycling = Recycling(board, board.row(1), Limits(rss_bytes=int(weight * share)))
    assert not board.row(1).wants_replacement
    recycling.weigh(1)
    assert board.row(1).wants_replacement == asks


def test_worker_that_can_open_nothing_is_not_weighed(board: Scoreboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced for the descriptors it has used up, and goes on until then."""

    def refuse(*_: Any) -> int:
        raise OSError(24, "Too many open files")

    recycling = Recycling(board, board.row(1), Limits(rss_bytes=1))
    monkeypatch.setattr(os, "open", refuse)
    recycling.weigh(1)
    assert not board.row(1).wants_replacement
