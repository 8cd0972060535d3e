"""
What the keeper does for the pool: everything that talks to Redis and is not a worker's own item.

Each duty is a small class whose `run` is called every so often. They share one connection. When Redis is away
`Pulse` says so once, the others are left out, and `Pulse` says once that it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from executor_worker.broker.queue.releases import Releases
from executor_worker.errors import StreamRefused, StreamUnavailable
from executor_worker.keeper.cancellation import Cancel
from executor_worker.keeper.housekeeping import MEMORY_S, Memory, Upkeep
from executor_worker.keeper.leases import Leases
from executor_worker.keeper.pool_context import Circumstances
from executor_worker.keeper.rates import EVERY_S as RECENT_S
from executor_worker.keeper.rates import Recent
from executor_worker.keeper.reclaim import Reclaim
from executor_worker.keeper.redis_monitor import Pulse
from executor_worker.keeper.registration import Announce, Farewell
from executor_worker.keeper.throttling import LOOK_S, Throttling
from executor_worker.telemetry import logs

PULSE_S = 1.0  # or several times within a lease: until it finds Redis back, nothing is renewed
RECLAIM_S = 0.2  # how soon a slot that backs off is seen to hold something
CANCEL_S = 0.5
REGISTRY_S = 1.0
UPKEEP_S = 5.0
BACKLOG_S = 2.0
LONGEST_RENEWAL_S = 5.0
NEVER_S = 1e9

T = TypeVar("T")

__all__ = ["Circumstances", "Duties", "Duty"]


class Duty(NamedTuple):
    """Something to be done every so often, and at the end; `run` may say in how many seconds it is due again."""

    name: str
    every_seconds: float
    run: Callable[[], float | None]
    close: Callable[[], None] | None = None
    first: bool = False  # before the keeper is said to be up


class Duties:
    """All of them, in the order in which they are run and, at the end, closed."""

    def __init__(self, around: Circumstances) -> None:
        self._head = around.board.head
        renew = self._while_up(Leases(around).run)
        # The time of an outage counts against all leases.
        pulse_s = min(around.lease_s / 6, PULSE_S)
        self.pulse = Pulse(around, renew, pulse_s)
        self.upkeep = Upkeep(around)
        # Both know of each other: what waited is offered as what was released is, and one subscription serves both.
        self.throttling = throttling = Throttling(around, lambda ready: self.reclaim.put_up(ready))
        self.reclaim = Reclaim(around, Releases(around.link.another(), throttling.heard))
        self.recent = Recent(around.board)
        announce, farewell = Announce(around, self.recent), Farewell(around)
        self.all = [
            Duty("pulse", pulse_s, self.pulse.run, first=True),
            Duty("leases", min(around.lease_s / 3, LONGEST_RENEWAL_S), renew, first=True),
            Duty("reclaim", RECLAIM_S, self._while_up(self.reclaim.run)),
            Duty("cancel", CANCEL_S, self._while_up(Cancel(around).run)),
            Duty("throttling", LOOK_S, self._while_up(throttling.run)),
            Duty("registry", REGISTRY_S, self._while_up(announce.run), self._while_up(announce.close)),
            Duty("upkeep", UPKEEP_S, self._while_up(self.upkeep.run)),
            Duty("backlog", BACKLOG_S, self._while_up(self.upkeep.measure)),
            Duty("recent", RECENT_S, self.recent.run),
            Duty("memory", MEMORY_S, Memory(around).run),
            Duty("farewell", NEVER_S, lambda: None, self._while_up(farewell.close)),
        ]

    def _while_up(self, run: Callable[[], T]) -> Callable[[], T | None]:
        """Leave *run* out while Redis is away or the pool's name is not ours yet."""

        def run_or_not() -> T | None:
            if not (self._head.redis_up and self._head.gate):
                return None
            try:
                return run()
            except StreamUnavailable as error:
                self.pulse.lost(error)
            except StreamRefused as error:
                logs.error("redis.refused", reason=str(error), fix="correct what REDIS_USER may do")
            return None

        return run_or_not
