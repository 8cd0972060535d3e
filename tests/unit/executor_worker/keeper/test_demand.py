"""What the keeper says of how much there is to do, by a clock of our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from executor_worker.broker.queue.backlog import Backlog
from executor_worker.keeper.demand import MIB, Demand, free_memory
from supervisor.scoreboard.scoreboard import Scoreboard


class Scene:
    """A pool of two slots; `backlog` is what waits, `now` the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board = Scoreboard(2)
        self.now = 0.0
        self.waiting = 0
        self.looks = 0
        self.lines: list[dict[str, Any]] = []
        self.board.head.configured = 2
        for slot in (1, 2):
            self.board.place(slot).state = "idle"
        monkeypatch.setattr("executor_worker.telemetry.logs.warning", self._log)
        self.demand = Demand(self.board, self._measure, self._known, lambda: 100 * MIB, lambda: self.now)

    def _log(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})

    def _measure(self) -> list[Backlog]:
        self.looks += 1
        return self._known()

    def _known(self) -> list[Backlog]:
        # depth, pending, parked: what is parked waits for no worker
        return [Backlog("executor.work", self.waiting + 2 + 5, 2, 5, 0, 12.34)]

    def busy(self, *slots: int) -> None:
        for row in self.board.rows():
            row.begin("held", "g/n", "running") if row.slot in slots else row.end()

    def bounds(self, least: int, most: int) -> None:
        self.board.head.least, self.board.head.most = least, most


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(monkeypatch)
    yield made
    made.board.close()


def test_what_waits_is_looked_at_only_while_all_are_busy(scene: Scene) -> None:
    """One that is free takes it at once; what is parked does not wait for a worker."""
    scene.bounds(1, 9)
    scene.waiting = 3
    scene.busy(1)
    scene.demand.run()
    assert (scene.board.head.demand, scene.looks) == (0, 0)
    scene.busy(1, 2)
    scene.demand.run()
    assert (scene.board.head.demand, scene.looks) == (2 + 3, 1)
    scene.board.head.paused = True
    scene.demand.run()
    assert scene.board.head.demand == 0


def test_a_fixed_pool_asks_redis_nothing_more(scene: Scene) -> None:
    scene.bounds(2, 2)
    scene.busy(1, 2)
    scene.demand.run()
    assert scene.looks == 0


def test_how_many_more_fit_into_memory(scene: Scene) -> None:
    """By the heaviest there is; a tenth of what is free stays free."""
    scene.bounds(1, 9)
    scene.demand.run()
    assert scene.board.head.room == 4, "90 MiB for workers of 20"
    scene.board.row(2).pss_bytes = 45 * MIB
    scene.now = 10
    scene.demand.run()
    assert scene.board.head.room == 2
    assert free_memory() > 0


def test_a_pool_that_is_too_small_for_a_minute_is_warned_of_once_a_minute(scene: Scene) -> None:
    """How many wait, for how long, and what to do; a moment without ends it."""
    scene.bounds(2, 2)
    scene.busy(1, 2)
    scene.waiting = 7
    for scene.now in range(130):
        scene.demand.run()
    (first, second) = scene.lines
    assert first == second and first["event"] == "pool.saturated"
    assert (first["workers"], first["waiting"], first["oldest_s"]) == (2, 7, 12.3) and "WORKERS" in first["fix"]
    scene.waiting = 0
    scene.demand.run()
    scene.waiting = 7
    for scene.now in range(130, 189):
        scene.demand.run()
    assert len(scene.lines) == 2
