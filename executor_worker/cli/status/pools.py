"""Pools as the registry shows them: what their workers have written of themselves, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from executor_worker.telemetry.summary import added

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """
    One pool.

    Attributes:
        workers: Its workers' entries, by slot.
    """

    worker_id: str
    workers: list[Entry]

    @property
    def newest(self) -> Entry:
        """The entry that was written last: what it says of the pool holds."""
        return max(self.workers, key=lambda entry: str(entry.get("last_heartbeat")))

    @property
    def states(self) -> Counter[str]:
        return Counter(str(entry.get("status", "unknown")) for entry in self.workers)

    @property
    def restarts(self) -> dict[str, int]:
        """Workers replaced since the pool was started, by reason."""
        told = self._pool.get("restarts")
        return added([{"restarts": told}])["restarts"]  # type: ignore[no-any-return]

    @property
    def condition(self) -> str:
        """In a word, as far as the registry tells."""
        if self._pool.get("paused"):
            return "paused"
        mode = str(self._pool.get("mode", ""))
        states = self.states
        if mode in ("draining", "starting"):
            return mode
        if not states["idle"] + states["busy"]:
            return "unhealthy"
        return "degraded" if states["unhealthy"] + states["stopped"] else "healthy"

    @property
    def queues(self) -> list[str] | None:
        """The queues it serves; None: its version does not say."""
        told = self._pool.get("queues")
        return [str(queue) for queue in told] if isinstance(told, list) else None

    @property
    def last_minute(self) -> dict[str, Any]:
        """Add up what the pool's workers did lately."""
        return added(lately for entry in self.workers if isinstance(lately := about(entry).get("last_minute"), dict))

    def as_json(self) -> dict[str, Any]:
        newest = self.newest
        return {
            "worker_id": self.worker_id,
            "host": about(newest).get("host"),
            "version": newest.get("version"),
            "condition": self.condition,
            "last_heartbeat": newest.get("last_heartbeat"),
            "slots": len(self.workers),
            "states": dict(self.states),
            "last_minute": self.last_minute,
            "restarts": self.restarts,
            "workers": self.workers,
        }

    @property
    def _pool(self) -> dict[str, Any]:
        told = about(self.newest).get("pool")
        return told if isinstance(told, dict) else {}


def about(entry: Entry) -> dict[str, Any]:
    """Return what an entry says beyond what every program's registry entry does."""
    metadata = entry.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def pool_of(entry: Entry) -> str:
    """Return the name of an entry's pool: `a` for the worker `a.1`; another program's entry is a pool of its own."""
    name = str(entry.get("id") or "unnamed")
    pool, _, slot = name.rpartition(".")
    return pool if pool and slot.isdecimal() else name


def pools_of(entries: Iterable[Entry]) -> list[PoolEntry]:
    """Put entries together by pool, in the order of names and slots."""
    pools: dict[str, list[Entry]] = {}
    for entry in entries:
        pools.setdefault(pool_of(entry), []).append(entry)
    return [PoolEntry(name, sorted(workers, key=_slot)) for name, workers in sorted(pools.items())]


def _slot(entry: Entry) -> tuple[int, str]:
    number = str(entry.get("id") or "").rpartition(".")[2]
    return (int(number) if number.isdecimal() else 0, number)
