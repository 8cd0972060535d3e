"""Asks the pool on this machine how it is, over its own HTTP endpoints."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from executor_worker.settings import Settings

LIMIT_S = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class PoolView:
    """
    Attributes:
        health: What `/health` says; None where nobody answers.
        workers: What `/status` says of each slot.
        more: What else it says: `mode`, `paused`, `started`, `last_minute`, `totals`.
        problem: Why nobody answers, or not to everything, a sentence.
    """

    health: dict[str, Any] | None = None
    workers: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def look_at_pool(settings: Settings) -> PoolView:
    if not settings.health_port:
        return PoolView(problem="HEALTH_PORT names no port to ask the pool at")
    host = _EVERYWHERE.get(settings.health_host, settings.health_host)
    try:
        health = _get(host, settings.health_port, "/health")
        if "worker_id" not in health:
            raise ValueError("not ours")
        seen = _get(host, settings.health_port, "/status", settings.health_token)
        if "workers" not in seen:  # an older version, which runs on while this one is being put in its place
            seen = _get(host, settings.health_port, "/workers", settings.health_token)
        workers = list(seen.pop("workers", []))
        return PoolView(seen.pop("health", health), workers, seen)
    except _Refused:
        return PoolView(health, problem="the pool shows its workers only to who knows its HEALTH_TOKEN")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        where = f"{host}:{settings.health_port}"
        return PoolView(
            problem=f"no pool answers at {where} ({reason}); HEALTH_PORT says where; `--all` asks Redis only"
        )
    except (ValueError, AttributeError):
        return PoolView(problem=f"what answers at {host}:{settings.health_port} is not a pool of ours")


class _Refused(Exception):
    """It is not for us."""


def _get(host: str, port: int, path: str, token: str = "") -> dict[str, Any]:
    connection = http.client.HTTPConnection(host, port, timeout=LIMIT_S)
    headers = {"Connection": "close"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status == http.client.UNAUTHORIZED:
        raise _Refused
    if not isinstance(body, dict):
        raise ValueError("not an object")
    return body
