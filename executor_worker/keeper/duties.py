"""
The keeper's duties: everything that talks to Redis and is not a worker's own item.

Each duty is a small class whose `run` is called every so often. They share one connection. When Redis is away
`RedisMonitor` says so once, the others are left out, and `RedisMonitor` says once that it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from executor_worker.broker.queue.releases import Releases
from executor_worker.errors import StreamRefused, StreamUnavailable
from executor_worker.keeper.cancellation import Cancel
from executor_worker.keeper.complaints import Complaints
from executor_worker.keeper.demand import DEMAND_S, Demand
from executor_worker.keeper.graph_runs import EVERY_S as GRAPH_RUNS_S
from executor_worker.keeper.graph_runs import GraphRuns
from executor_worker.keeper.history import LOOK_S as HISTORY_S
from executor_worker.keeper.history import History
from executor_worker.keeper.housekeeping import MEMORY_S, Housekeeping, Memory
from executor_worker.keeper.leases import Leases
from executor_worker.keeper.limits import LOOK_S as LIMITS_S
from executor_worker.keeper.limits import Limits
from executor_worker.keeper.offers import OFFERS_S, Offers
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.keeper.rates import EVERY_S as RATES_S
from executor_worker.keeper.rates import Rates
from executor_worker.keeper.reclaim import Reclaim
from executor_worker.keeper.redis_monitor import RedisMonitor
from executor_worker.keeper.registration import HandOver, RegistrationDuty
from executor_worker.keeper.role_queues import LOOK_S as ROLE_QUEUES_S
from executor_worker.keeper.role_queues import RoleQueues
from executor_worker.keeper.router_work import EVERY_S as ROUTER_WORK_S
from executor_worker.keeper.router_work import RouterWork
from executor_worker.keeper.summary import SUMMARY_S, Summary
from executor_worker.keeper.waits import LOOK_S, Throttling
from executor_worker.keeper.wrong_keys import LOOK_S as LOOK_AT_KEYS_S
from executor_worker.keeper.wrong_keys import WrongKeys

REDIS_MONITOR_S = 1.0  # or several times within a lease: until it finds Redis back, nothing is renewed
RECLAIM_S = 0.2  # how soon a slot that backs off is seen to hold something
CANCEL_S = 0.5
REGISTRY_S = 1.0
HOUSEKEEPING_S = 5.0
BACKLOG_S = 2.0
LONGEST_RENEWAL_S = 5.0
NEVER_S = 1e9

T = TypeVar("T")

__all__ = ["Duties", "Duty", "PoolContext"]


class Duty(NamedTuple):
    """Something to be done every so often, and at the end; `run` may say in how many seconds it is due again."""

    name: str
    every_seconds: float
    run: Callable[[], float | None]
    close: Callable[[], None] | None = None
    first: bool = False  # before the keeper is said to be up


class Duties:
    """All of them, in the order in which they are run and, at the end, closed."""

    def __init__(self, around: PoolContext) -> None:
        self._head = around.board.head
        self._complaints = Complaints()
        renew = self._while_up(Leases(around).run)
        # The time of an outage counts against all leases.
        redis_monitor_s = min(around.lease_s / 6, REDIS_MONITOR_S)
        self.redis_monitor = RedisMonitor(around, renew, redis_monitor_s)
        self.graph_runs = GraphRuns(around)
        self.housekeeping = Housekeeping(around, self.graph_runs.hurry)
        self.wrong_keys = WrongKeys(around)
        self.demand = Demand(around.board, self.housekeeping.measured, lambda: self.housekeeping.backlogs)
        # Both know of each other: what waited is offered as what was released is, and one subscription serves both.
        self.throttling = throttling = Throttling(around, lambda ready: self.reclaim.put_up(ready))
        self.reclaim = Reclaim(
            around,
            Releases(
                around.link.another(), throttling.heard, lambda in_s: self.graph_runs.heard(in_s), throttling.opened
            ),
        )
        self.limits = Limits(around)
        self.history = History(around)
        self.rates = Rates(around.board)
        offers = Offers(around, around.tools)
        registration, hand_over = RegistrationDuty(around, self.rates), HandOver(around)
        self.all = [
            Duty("redis_monitor", redis_monitor_s, self.redis_monitor.run, first=True),
            Duty("leases", min(around.lease_s / 3, LONGEST_RENEWAL_S), renew, first=True),
            Duty("reclaim", RECLAIM_S, self._while_up(self.reclaim.run)),
            Duty("cancel", CANCEL_S, self._while_up(Cancel(around).run)),
            Duty("throttling", LOOK_S, self._while_up(throttling.run)),
            Duty("limits", LIMITS_S, self._while_up(self.limits.run)),
            Duty("role_queues", ROLE_QUEUES_S, self._while_up(RoleQueues(around).run)),
            Duty("history", HISTORY_S, self._while_up(self.history.run)),
            Duty("graph_runs", GRAPH_RUNS_S, self._while_up(self.graph_runs.run), self.graph_runs.close),
            Duty("router_work", ROUTER_WORK_S, self._while_up(RouterWork(around).run)),
            Duty("offers", OFFERS_S, self._while_up(offers.run), self._while_up(offers.close)),
            Duty("registry", REGISTRY_S, self._while_up(registration.run), self._while_up(registration.close)),
            Duty("housekeeping", HOUSEKEEPING_S, self._while_up(self.housekeeping.run)),
            Duty("backlog", BACKLOG_S, self._while_up(self.housekeeping.measure)),
            Duty("wrong_keys", LOOK_AT_KEYS_S, self._while_up(self.wrong_keys.run)),
            Duty("demand", DEMAND_S, self._while_up(self.demand.run)),
            Duty("rates", RATES_S, self.rates.run),
            Duty("summary", SUMMARY_S, Summary(around.board, lambda: self.housekeeping.backlogs).run),
            Duty("memory", MEMORY_S, Memory(around).run),
            Duty("hand_over", NEVER_S, lambda: None, self._while_up(hand_over.close)),
        ]

    def _while_up(self, run: Callable[[], T]) -> Callable[[], T | None]:
        """Leave *run* out while Redis is away or the pool's name is not ours yet."""

        def run_or_not() -> T | None:
            if not (self._head.redis_up and self._head.gate):
                return None
            try:
                return run()
            except StreamUnavailable as error:
                self.redis_monitor.lost(error)
            except StreamRefused as error:
                if not self.wrong_keys.suspect(error):
                    self._complaints.refused(error)
            return None

        return run_or_not
