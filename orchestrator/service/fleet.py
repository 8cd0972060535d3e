"""The workers there are, as the original's dashboard reads them (its names: camelCase for workers, snake_case else)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.fleet import directory
from executor_worker.errors import StreamError
from orchestrator.errors import InvalidWorkerType, WorkerNotFound

TYPES = ("executor", "router")
FRESH_S = 1.0  # for so long what was read is good enough for the next who asks
SILENT_S = 30.0  # without a word a worker counts as unhealthy
_FRACTION = re.compile(r"\.\d+")
STATES = {"idle": "idle", "busy": "busy"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The workers to show; empty: all."""

    healthy: bool = False
    types: Collection[str] = ()
    statuses: Collection[str] = ()

    def holds(self, entry: Mapping[str, Any]) -> bool:
        if self.healthy and _status(entry) == "unhealthy":
            return False
        if self.types and entry.get("type") not in self.types:
            return False
        return not self.statuses or _status(entry) in self.statuses


class Fleet:
    """Reads the registry; requests at the same time share one reading."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_at = -FRESH_S
        self._entries: list[dict[str, Any]] = []

    async def entries(self) -> list[dict[str, Any]]:
        """
        Raises:
            StreamUnavailable: Redis does not answer.
        """
        async with self._lock:
            if self._clock() - self._read_at >= FRESH_S:
                self._entries = await directory.workers(self._client)
                self._read_at = self._clock()
        return self._entries

    async def workers(self, wanted: Wanted) -> list[dict[str, Any]]:
        """List the workers that are wanted, by id."""
        return [_shown(entry) for entry in await self.entries() if wanted.holds(entry)]

    async def worker(self, name: str) -> dict[str, Any]:
        """
        Raises:
            WorkerNotFound: No worker of that name has registered lately.
        """
        return _shown(await self._entry(name))

    async def figures(self, name: str) -> list[dict[str, Any]]:
        """
        List what a worker counts, as name, value and unit.

        Raises:
            WorkerNotFound: No worker of that name has registered lately.
        """
        metadata = (await self._entry(name)).get("metadata")
        about = metadata if isinstance(metadata, dict) else {}
        lately = about.get("last_minute")
        rows = {"items_done": about.get("items_done"), "restarts": about.get("restarts")}
        rows |= (
            {f"last_minute_{key}": value for key, value in (lately or {}).items()} if isinstance(lately, dict) else {}
        )
        return [{"name": key, "value": value} for key, value in rows.items() if isinstance(value, int | float)]

    async def stats(self) -> dict[str, dict[str, Any]]:
        """Count workers by their type and status."""
        entries = await self.entries()
        return {kind: _stats(kind, [one for one in entries if one.get("type") == kind]) for kind in TYPES}

    async def pool(self, kind: str) -> dict[str, Any]:
        """
        Sum up all workers of one type.

        Raises:
            InvalidWorkerType: There is no such type.
        """
        if kind not in TYPES:
            raise InvalidWorkerType("Worker type must be 'executor' or 'router'")
        entries = [one for one in await self.entries() if one.get("type") == kind]
        stats = _stats(kind, entries)
        lately = [_lately(entry) for entry in entries]
        return {
            "avgLatencyMs": _mean_ms(lately),
            "busyWorkers": stats["busy_workers"],
            "idleWorkers": stats["idle_workers"],
            "offlineWorkers": stats["unhealthy_workers"],
            "totalErrors": sum(_number(one, "failed") for one in lately),
            "totalTasksCompleted": sum(_number(_metadata(entry), "items_done") for entry in entries),
            "totalWorkers": stats["total_workers"],
            "type": kind,
        }

    async def tools(self) -> frozenset[str] | None:
        """Name the tools that workers offer at present; None if that is unknown."""
        try:
            return await directory.offered_tools(self._client)
        except StreamError:
            return None

    async def _entry(self, name: str) -> dict[str, Any]:
        entry = await directory.worker(self._client, name)
        if entry is None:
            raise WorkerNotFound("Worker not found")
        return entry


def _shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    status = _status(entry)
    told = {
        "currentTask": entry.get("current_task"),
        "version": entry.get("version"),
        "metadata": entry.get("metadata"),
    }
    return {
        "id": entry.get("id"),
        "type": entry.get("type"),
        "state": STATES.get(status, "offline"),
        "pendingTasks": entry.get("pending_tasks") or 0,
        "healthStatus": "unhealthy" if status == "unhealthy" else "healthy",
        "lastHeartbeat": _whole_seconds(entry.get("last_heartbeat")),
        "startedAt": _whole_seconds(entry.get("registered_at")),
        **{name: value for name, value in told.items() if value},
    }


def _whole_seconds(time_text: Any) -> Any:
    """Cut the fraction off a time: the original shows whole seconds, in the zone that stands there."""
    return _FRACTION.sub("", time_text) if isinstance(time_text, str) else time_text


def _status(entry: Mapping[str, Any]) -> str:
    """
    Return the status that a worker reports, unless it has not been heard of for long.

    What a pool of ours has written expires by itself then; its clock may be another one.
    """
    if "supervisor" in _metadata(entry):
        return str(entry.get("status"))
    try:
        silence_s = time.time() - datetime.fromisoformat(str(entry.get("last_heartbeat"))).timestamp()
    except ValueError:
        silence_s = 0.0
    return "unhealthy" if silence_s > SILENT_S else str(entry.get("status"))


def _stats(kind: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    statuses = [_status(entry) for entry in entries]
    return {
        "type": kind,
        "total_workers": len(entries),
        "idle_workers": statuses.count("idle"),
        "busy_workers": statuses.count("busy"),
        "unhealthy_workers": statuses.count("unhealthy"),
        "total_pending_tasks": sum(_number(entry, "pending_tasks") for entry in entries),
    }


def _metadata(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = entry.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _lately(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    lately = _metadata(entry).get("last_minute")
    return lately if isinstance(lately, dict) else {}


def _number(of: Mapping[str, Any], name: str) -> int | float:
    value = of.get(name)
    return value if isinstance(value, int | float) else 0


def _mean_ms(lately: Sequence[Mapping[str, Any]]) -> float:
    """Of the nodes that were run in the last minute."""
    done = sum(_number(one, "completed") + _number(one, "failed") for one in lately)
    return round(1000 * sum(_number(one, "node_seconds") for one in lately) / done, 1) if done else 0
