"""The registry of workers in Redis: one entry for each, which every program may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import REGISTRY_PREFIX
from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import StreamError
from executor_worker.json_text import dumps, loads

TTL_S = 30
SCAN_PAGE = 2000


@dataclass(frozen=True, slots=True)
class Registration:
    """
    One worker as the registry shows it.

    Attributes:
        id: `<WORKER_ID>.<slot>`.
        status: idle, busy, unhealthy or stopped.
        registered_at, last_heartbeat: Seconds since the epoch.
        current_task: What it works on; None while idle.
    """

    id: str
    status: str
    registered_at: float
    last_heartbeat: float
    current_task: str | None = None
    pending_tasks: int = 0
    version: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> bytes:
        return dumps(
            {
                "id": self.id,
                "type": "executor",
                "status": self.status,
                "registered_at": rfc3339(self.registered_at),
                "last_heartbeat": rfc3339(self.last_heartbeat),
                "current_task": self.current_task,
                "pending_tasks": self.pending_tasks,
                "version": self.version,
                "metadata": dict(self.metadata),
            }
        )


def register(link: Link, registrations: Iterable[Registration], *, ttl_s: float = TTL_S) -> None:
    """
    Write entries; each lives for *ttl_s* unless written again.

    Raises:
        StreamUnavailable: No reply, or Redis is full or read-only.
    """
    ttl_ms = int(ttl_s * 1000)
    _all(link, [("SET", REGISTRY_PREFIX + one.id, one.as_json(), "PX", ttl_ms) for one in registrations])


def unregister(link: Link, ids: Iterable[str]) -> None:
    """
    Remove entries.

    Raises:
        StreamUnavailable: No reply; they end with their time to live.
    """
    _all(link, [("DEL", REGISTRY_PREFIX + one) for one in ids])


def registry_keys(link: Link) -> list[bytes]:
    """
    Find all entries, ours and others'. Redis walks over all its keys for that.

    Raises:
        StreamUnavailable: No reply.
    """
    keys: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, page = link.call("SCAN", cursor, "MATCH", REGISTRY_PREFIX + "*", "COUNT", SCAN_PAGE)
        keys.update(page)
        if cursor == b"0":
            return sorted(keys)


def read_registry(link: Link, keys: Iterable[bytes]) -> list[dict[str, Any]]:
    """
    Read entries; those that have ended, or can't be read as one, are left out.

    Raises:
        StreamUnavailable: No reply.
    """
    values = link.batch([("GET", key) for key in keys])
    return [entry for entry in map(entry_of, values) if entry is not None]


def registered(link: Link) -> list[dict[str, Any]]:
    """
    Find and read all entries, by id.

    Raises:
        StreamUnavailable: No reply.
    """
    return read_registry(link, registry_keys(link))


def entry_of(value: Any) -> dict[str, Any] | None:
    """Read an entry; None if it can't be read as one."""
    try:
        entry = loads(value) if isinstance(value, bytes) else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _all(link: Link, commands: list[tuple[Any, ...]]) -> None:
    for reply in link.batch(commands):
        if isinstance(reply, StreamError):
            raise reply
