"""The pool and the streams at a glance: what `status` and `top` know, with whatever part of it can be seen."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from executor_worker.broker.connection.advice import as_config_error
from executor_worker.broker.connection.link import Link
from executor_worker.broker.fleet.limits import LimitView, look_at_limits
from executor_worker.broker.fleet.registry import read_registry, registry_keys
from executor_worker.broker.fleet.throttle_views import Throttled, throttled
from executor_worker.broker.graphs import drive
from executor_worker.broker.graphs.overview import RunsOverview, overview
from executor_worker.broker.names import ROLE_GROUP, ROUTER_GROUP
from executor_worker.broker.queue.backlog import Backlog, backlog
from executor_worker.broker.queue.queues import known_streams
from executor_worker.broker.queue.router_work import with_letters
from executor_worker.broker.queue.source import Groups
from executor_worker.cli.status.here import wanted_pool
from executor_worker.cli.status.pool_http import PoolView, look_at_named, look_at_pool
from executor_worker.cli.status.pools import PoolEntry, pool_of, pools_of
from executor_worker.errors import ConfigError, StreamError, StreamRefused
from executor_worker.program.place_limits import known_role_streams, place_limits
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings

SCAN_S = 10.0  # between two looks for new names: that is a walk over all keys there are


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Attributes:
        everywhere: Whether all pools are meant, and not only that of this machine.
        pool: The pool of this machine; nothing if it was not asked for.
        streams: None if Redis can't be asked.
        others: What the registry says of workers, without those of `pool`.
        redis_problem: Why Redis can't be asked, a sentence.
        refused: Whether it is there, and a setting has to be corrected.
        missing: Whether the pool that was named is nowhere.
        limits: Over all hosts: those that are set here, and those that items wait for.
        runs: Over all hosts; None if Redis can't be asked.
    """

    everywhere: bool
    pool: PoolView = field(default_factory=PoolView)
    streams: list[Backlog] | None = None
    throttles: list[Throttled] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    redis_problem: str = ""
    refused: bool = False
    missing: bool = False
    limits: list[LimitView] = field(default_factory=list)
    runs: RunsOverview | None = None

    @property
    def pools(self) -> list[PoolEntry]:
        """Pools by what the registry says of their workers."""
        return pools_of(self.others)

    @property
    def problems(self) -> list[str]:
        return [problem for problem in (self.pool.problem, self.redis_problem) if problem]

    @property
    def blind(self) -> bool:
        """Tell whether neither the pool nor Redis could be asked."""
        return self.pool.health is None and self.streams is None

    def as_json(self) -> dict[str, Any]:
        redis = {
            "streams": None if self.streams is None else [_stream_json(stream) for stream in self.streams],
            "throttles": [asdict(throttle) for throttle in self.throttles],
            "limits": [limit.as_json() for limit in self.limits],
            "runs": None if self.runs is None else self.runs.as_json(),
        }
        if self.everywhere:
            return redis | {"pools": [pool.as_json() for pool in self.pools], "problems": self.problems}
        pool = {"health": self.pool.health, "workers": self.pool.workers} | self.pool.more
        return pool | redis | {"others": self.others, "problems": self.problems}


class Onlooker:
    """
    Looks again and again, at everything it is told to, whatever becomes of one part of it.

    Args:
        everywhere: All pools on this Redis, instead of the one on this machine.
        pool: The name of the one that is meant, here or elsewhere; None: see `wanted_pool`.
    """

    def __init__(self, settings: Settings, *, everywhere: bool, pool: str | None = None) -> None:
        self._settings = settings
        self._everywhere = everywhere
        self._name = "" if everywhere else wanted_pool(pool)
        self._names: list[bytes] = []
        self._scan_at = 0.0

    def look(self) -> Snapshot:
        pool = PoolView() if self._everywhere else self._pool()
        try:
            with closing(connect(self._settings)) as link:
                return self._seen(link, pool)
        except StreamRefused as error:
            wrong = as_config_error(error)
            problem = str(wrong or error)
            return Snapshot(self._everywhere, pool, redis_problem=problem, refused=wrong is not None)
        except StreamError as error:
            return Snapshot(self._everywhere, pool, redis_problem=f"{error}; REDIS_ADDR says where it is")
        except ConfigError as error:
            return Snapshot(self._everywhere, pool, redis_problem=str(error))

    def _pool(self) -> PoolView:
        """The pool at HEALTH_PORT, unless another one is meant; if that is not set, the only one here."""
        seen = look_at_pool(self._settings)
        if self._name:
            return seen if seen.health and seen.health["worker_id"] == self._name else self._named()
        if seen.health is None and "health_port" not in self._settings.model_fields_set:
            found = look_at_named("", self._settings)
            return found if found.health else seen
        return seen

    def _named(self) -> PoolView:
        return look_at_named(self._name, self._settings)

    def _elsewhere(self, link: Link) -> Snapshot:
        """The named pool as the registry shows it, for it does not run here."""
        entries = [one for one in self._registered(link) if pool_of(one) == self._name]
        where = "" if entries else f"no pool called {self._name!r} runs here, or is registered on this Redis"
        streams = self._backlog(link)
        seen = throttled(link)
        view = PoolView(problem=where)
        limits, runs = self._limits(link), self._runs(link)
        return Snapshot(True, view, streams, seen, entries, missing=not entries, limits=limits, runs=runs)

    def _seen(self, link: Link, pool: PoolView) -> Snapshot:
        if self._name and pool.health is None:
            return self._elsewhere(link)
        own = f"{pool.health['worker_id']}." if pool.health else None
        entries = [one for one in self._registered(link) if own is None or not str(one.get("id")).startswith(own)]
        streams = self._backlog(link)
        limits, runs = self._limits(link), self._runs(link)
        return Snapshot(self._everywhere, pool, streams, throttled(link), entries, limits=limits, runs=runs)

    def _backlog(self, link: Link) -> list[Backlog]:
        """Measure all streams there are, also those that no pool serves."""
        roles = known_role_streams(self._settings, link)
        routers = with_letters(link)
        streams = (*known_streams(link, self._settings.queues), *routers, *roles)
        groups = Groups({**dict.fromkeys(routers, ROUTER_GROUP), **dict.fromkeys(roles, ROLE_GROUP)})
        return backlog(link, delete_settled=self._settings.delete_settled, streams=streams, groups=groups)

    def _limits(self, link: Link) -> list[LimitView]:
        """Look at the limits that are set here, or that anything waits for; a user who may not ask does without."""
        try:
            return look_at_limits(link, place_limits(self._settings).most, lease_s=self._settings.lease)
        except StreamRefused:
            return []

    def _runs(self, link: Link) -> RunsOverview | None:
        """Look at the runs of graphs; a user who may not ask does without."""
        try:
            return drive(link, overview())
        except StreamRefused:
            return None

    def _registered(self, link: Link) -> list[dict[str, Any]]:
        if time.monotonic() >= self._scan_at:
            self._names, self._scan_at = registry_keys(link), time.monotonic() + SCAN_S
        return read_registry(link, self._names)


def _stream_json(one: Backlog) -> dict[str, Any]:
    return {
        "stream": one.stream,
        "depth": one.depth,
        "pending": one.pending,
        "parked": one.parked,
        "oldest_age_seconds": round(one.oldest_age_s, 3),
        "dead": one.dead,
    }
