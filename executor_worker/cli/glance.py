"""The pool and the streams at a glance: what `status` and `top` show, with whatever part of it can be seen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from executor_worker.cli.display import ago, in_bytes
from executor_worker.cli.parts import connect
from executor_worker.cli.pool_http import PoolView, look_at_pool
from executor_worker.cli.refusals import as_config_error
from executor_worker.errors import ConfigError, StreamError, StreamRefused
from executor_worker.settings import Settings
from executor_worker.stream.backlog import Backlog, backlog
from executor_worker.stream.registry import registered

Row = list[Any]


@dataclass(frozen=True, slots=True)
class Glance:
    """
    Attributes:
        pool: The pool of this machine.
        streams: None where Redis can't be asked.
        others: What the registry says of workers that are not this pool's.
        redis_problem: Why Redis can't be asked, a sentence.
        refused: Whether it is there, and a setting has to be corrected.
    """

    pool: PoolView
    streams: list[Backlog] | None = None
    others: list[dict[str, Any]] = field(default_factory=list)
    redis_problem: str = ""
    refused: bool = False

    @property
    def problems(self) -> list[str]:
        return [problem for problem in (self.pool.problem, self.redis_problem) if problem]

    @property
    def blind(self) -> bool:
        """Whether neither the pool nor Redis could be asked."""
        return self.pool.health is None and self.streams is None

    def as_json(self) -> dict[str, Any]:
        return {
            "health": self.pool.health,
            "workers": self.pool.workers,
            "streams": None if self.streams is None else [_stream_json(stream) for stream in self.streams],
            "others": self.others,
            "problems": self.problems,
        }


def look(settings: Settings) -> Glance:
    """Look at both; each is asked whatever became of the other."""
    pool = look_at_pool(settings)
    own = f"{pool.health['worker_id']}." if pool.health else None
    try:
        with closing(connect(settings)) as link:
            streams = backlog(link, delete_settled=settings.delete_settled)
            others = [one for one in registered(link) if own is None or not str(one.get("id")).startswith(own)]
        return Glance(pool, streams, others)
    except StreamRefused as error:
        wrong = as_config_error(error)
        return Glance(pool, redis_problem=str(wrong or error), refused=wrong is not None)
    except (StreamError, ConfigError) as error:
        return Glance(pool, redis_problem=str(error))


def headline(glance: Glance) -> str:
    """Say in a line how the pool is."""
    health = glance.pool.health
    if health is None:
        return "no pool on this machine"
    counts = health["workers"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if state != "configured" and count)
    last = f"last item {ago(_age(health['last_processed']))} ago" if health["last_processed"] else "no item yet"
    workers = f"{counts['configured']} slots: {states or 'none up'}"
    return f"{health['worker_id']}: {health['status']}, Redis {health['redis']}, {workers}, {last}"


WORKER_COLUMNS = ("slot", "pid", "state", "for", "phase", "item", "done", "restarts", "memory")
STREAM_COLUMNS = ("stream", "to do", "in hand", "oldest", "dead")
OTHER_COLUMNS = ("pool", "workers", "idle", "busy", "other", "seen")


def worker_rows(glance: Glance) -> list[Row]:
    return [
        [
            *(row.get("slot"), row.get("pid"), row.get("state"), ago(_age(row.get("since"))), row.get("phase")),
            *(row.get("item"), row.get("items_done"), row.get("restarts"), in_bytes(row.get("pss_bytes"))),
        ]
        for row in glance.pool.workers
    ]


def stream_rows(glance: Glance) -> list[Row]:
    return [
        [one.stream, one.depth, one.pending, ago(one.oldest_age_s) if one.depth else "-", one.dead]
        for one in glance.streams or []
    ]


def other_rows(glance: Glance) -> list[Row]:
    """One line for each pool elsewhere that reads the same Redis."""
    return list(_pools(glance.others))


def _pools(entries: list[dict[str, Any]]) -> Iterator[Row]:
    pools: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        pools.setdefault(str(entry.get("id", "")).rpartition(".")[0], []).append(entry)
    for name, workers in sorted(pools.items()):
        states = Counter(str(worker.get("status")) for worker in workers)
        rest = len(workers) - states["idle"] - states["busy"]
        seen = min((age for worker in workers if (age := _age(worker.get("last_heartbeat"))) is not None), default=None)
        yield [name, len(workers), states["idle"], states["busy"], rest, f"{ago(seen)} ago"]


def _stream_json(one: Backlog) -> dict[str, Any]:
    return {
        "stream": one.stream,
        "depth": one.depth,
        "pending": one.pending,
        "oldest_age_seconds": round(one.oldest_age_s, 3),
        "dead": one.dead,
    }


def _age(stamp: Any) -> float | None:
    """Tell how long ago an RFC 3339 time is, in seconds."""
    try:
        return max(time.time() - datetime.fromisoformat(str(stamp)).timestamp(), 0.0)
    except ValueError:
        return None
