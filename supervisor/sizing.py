"""Keep a pool as large as it is to be: as told, or as there is work for."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.event_log import EventLog
from supervisor.pool import Pool
from supervisor.program import PoolSettings
from supervisor.scaling import Bounds, Load, Scaling


class Sizing:
    """Resizes *pool*, whose scoreboard tells what there is to do."""

    def __init__(self, pool: Pool, settings: PoolSettings, log: EventLog, now: Callable[[], float]) -> None:
        self._pool = pool
        self._log = log
        self._now = now
        self._scaling = Scaling(bounds_of(settings), now())

    @property
    def bounds(self) -> Bounds:
        """The least and the most slots that the pool may have."""
        return self._scaling.bounds

    def scale(self, bounds: Bounds) -> None:
        """Have as many slots as there are now, within *bounds*."""
        most = self._pool.board.capacity
        bounds = Bounds(min(max(bounds.least, 1), most), min(max(bounds.most, 1), most))
        self.set_bounds(bounds)
        about = {} if bounds.fixed else {"bounds": str(bounds)}
        self._log("info", "pool.resized", workers=self._pool.board.head.configured, **about)

    def set_bounds(self, bounds: Bounds) -> None:
        self._scaling.move(bounds)
        head = self._pool.board.head
        head.least, head.most = bounds.least, bounds.most
        self._pool.resize(bounds.within(head.configured))
        head.scaled = self._scaling.reason(head.configured)

    def advance(self) -> None:
        """Have as many slots as there is work for."""
        head, before = self._pool.board.head, self._pool.board.head.configured
        if self._scaling.bounds.fixed or head.paused:
            return
        busy = self._pool.busy
        # What was seen to wait a moment ago new workers may have in hand by now.
        load = Load(busy, max(head.demand - busy, 0), head.throttled, head.room)
        decision = self._scaling.decide(before, load, self._now())
        head.scaled = decision.reason
        if decision.slots == before:
            return
        self._pool.resize(decision.slots)
        if head.configured < decision.slots:
            self._scaling.no_room(self._now())
        fields = {"workers": head.configured, "before": before, "busy": load.busy, "waiting": load.waiting}
        self._log("info", "pool.scaled", **fields, reason=decision.reason)


def bounds_of(settings: PoolSettings) -> Bounds:
    return Bounds(settings.workers, max(settings.workers, settings.most_workers))
