"""Rates of about the last minute, for readers that look once and want to know how it goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from executor_worker.telemetry.summary import Reader, Tally, figures, since, summed
from supervisor.scoreboard.scoreboard import Scoreboard

EVERY_S = 5.0
MINUTE_S = 60.0


class _Reading(NamedTuple):
    at: float  # monotonic seconds
    slots: dict[int, Tally]
    pool: Tally


class Rates:
    """
    Keeps readings of the counters for a minute; what is told is what was added since the oldest of them.

    A keeper that has just begun knows of less than a minute, and says of how much.
    """

    def __init__(self, board: Scoreboard, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._clock = clock
        self._reader = Reader()
        self._readings: deque[_Reading] = deque([self._read()])

    def run(self) -> None:
        """Take a reading."""
        now = self._read()
        self._readings.append(now)
        # The one that is a minute old, or a little more, stays.
        while self._readings[1].at <= now.at - MINUTE_S:
            self._readings.popleft()

    def of_pool(self) -> dict[str, Any]:
        """Say as JSON values what the whole pool did lately, `seconds` being how lately, and since its start."""
        now, before = self._read(), self._readings[0]
        lately = {"seconds": round(now.at - before.at, 1)} | figures(since(now.pool, before.pool))
        return {"last_minute": lately, "totals": figures(now.pool)}

    def of_slots(self) -> dict[int, dict[str, Any]]:
        """Return what each slot did lately, as of the last reading."""
        now, before = self._readings[-1], self._readings[0]
        seconds = {"seconds": round(now.at - before.at, 1)}
        return {slot: seconds | figures(since(tally, before.slots.get(slot, {}))) for slot, tally in now.slots.items()}

    def restarts(self) -> dict[str, int]:
        """Return how often workers of the pool were replaced, by reason, as of the last reading."""
        told: dict[str, int] = figures(self._readings[-1].pool)["restarts"]
        return told

    def _read(self) -> _Reading:
        slot_of = {id(row.counters): row.slot for row in self._board.rows()}
        tallies = [(id(area), self._reader.tally(area)) for area in self._board.all_counters()]
        slots = {slot_of[area]: tally for area, tally in tallies if area in slot_of}
        return _Reading(self._clock(), slots, summed(tally for _, tally in tallies))
