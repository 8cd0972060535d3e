"""The pool's health status, computed from the scoreboard alone, whatever Redis does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from supervisor.scoreboard.scoreboard import Scoreboard

MAIN_LOOP_SILENCE_S = 5.0
LOST_S = 3600.0  # for so long a stream that was lost is a problem
STATES = ("starting", "idle", "busy", "draining", "dead")


class PoolHealth:
    """
    Args:
        wall, clock: Seconds since the epoch, monotonic seconds.
    """

    def __init__(
        self, board: Scoreboard, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._wall = wall
        self._clock = clock

    def silence_s(self) -> float:
        """For how long the main loop has not turned."""
        return self._clock() - self._board.head.supervisor_beat_ns / 1e9

    def keeper_silence_s(self) -> float:
        """For how long the keeper, who knows how Redis is, has not been heard of."""
        return self._clock() - self._board.head.keeper_beat_ns / 1e9

    def counts(self) -> Counter[str]:
        """Slots by state."""
        return Counter(row.state for row in self._board.rows())

    def status(self) -> str:
        """`healthy`, `degraded`, `draining` or `unhealthy`."""
        head, counts = self._board.head, self.counts()
        if head.mode in ("draining", "stopped"):
            return "draining"
        working = counts["idle"] + counts["busy"] + counts["draining"]
        if not head.redis_up or head.away or not head.gate:
            return "unhealthy"
        if head.configured and not (working and self._any_progress()):
            return "unhealthy"
        if head.least != head.most:
            working += counts["starting"]  # it grows: nothing is missing
        whole = working >= head.configured and not head.paused and not head.held_back
        return "healthy" if whole else "degraded"

    def facts(self) -> dict[str, Any]:
        """Return what `/health` tells beside the pool's name; its problems are those of its status."""
        head, counts, status = self._board.head, self.counts(), self.status()
        done = head.last_done_wall_ns
        return {
            "status": status,
            "redis": "connected" if head.redis_up else "disconnected",
            "last_processed": rfc3339(done / 1e9) if done else None,
            "timestamp": rfc3339(self._wall()),
            "workers": {"configured": head.configured} | {state: counts[state] for state in STATES},
            "problems": self.problems(status),
        }

    def problems(self, status: str) -> list[str]:
        """Say in sentences why the pool was found to be *status*, and what else is to be looked after."""
        reasons = [] if status == "healthy" else list(self._reasons()) or [f"the pool is {status}"]
        return reasons + self._lost()

    def _reasons(self) -> Iterator[str]:
        head, counts = self._board.head, self.counts()
        if head.mode in ("draining", "stopped"):
            yield "the pool is draining: what is in hand is finished, nothing more is taken"
        if head.redis_up and head.away:
            yield head.away
        if not head.redis_up:
            yield f"Redis is away: {head.away}" if head.away else "Redis has not answered yet"
        elif not head.gate:
            yield "the pool's WORKER_ID is not its own yet: another pool may have it"
        if head.paused:
            yield "the pool is paused: `executor-worker ctl resume` lets it take items again"
        if head.held_back:
            yield head.held_back
        for state, said in (("starting", "starting"), ("dead", "without a worker")):
            if counts[state]:
                yield f"{counts[state]} of {head.configured} slots {'is' if counts[state] == 1 else 'are'} {said}"
        if counts["idle"] + counts["busy"] and not self._any_progress():
            yield "no worker makes progress: each is stopped, or has an item whose time is up"

    def _lost(self) -> list[str]:
        """A stream that was lost: the pool is well again, but items may not be."""
        at = self._board.head.lost_wall_ns / 1e9
        if not at or self._wall() >= at + LOST_S:
            return []
        return [f"a work stream or its group was lost and made anew at {rfc3339(at)}: items may be missing"]

    def _any_progress(self) -> bool:
        """Tell whether some slot is idle, or busy with an item whose time is not up; a stopped process is neither."""
        now = self._clock() * 1e9
        return any(
            row.state == "idle" or (row.state in ("busy", "draining") and not 0 < row.item_deadline_ns < now)
            for row in self._board.rows()
            if not row.stopped
        )


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
