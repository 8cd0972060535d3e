"""Asks the pool on this machine how it is, over its own HTTP endpoints."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from executor_worker.cli.exits import Quit
from executor_worker.cli.status.here import boards_of, the_only
from executor_worker.keeper.pages import Health
from executor_worker.settings import Settings
from supervisor.scoreboard.scoreboard import Scoreboard

LIMIT_S = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class PoolView:
    """
    Attributes:
        health: What `/health` says; None if nothing answers.
        workers: What `/status` says of each slot.
        more: What else it says: `mode`, `paused`, `started`, `last_minute`, `totals`.
        problem: Why nothing answers, or not to everything, a sentence.
    """

    health: dict[str, Any] | None = None
    workers: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def look_at_pool(settings: Settings, port: int = 0) -> PoolView:
    """Ask the pool at HEALTH_PORT, or at *port* of this machine."""
    port = port or settings.health_port or 0
    if not port:
        return PoolView(problem="HEALTH_PORT names no port to ask the pool at")
    host = _EVERYWHERE.get(settings.health_host, settings.health_host)
    try:
        health = _get(host, port, "/health")
        if "worker_id" not in health:
            raise ValueError("not ours")
        seen = _get(host, port, "/status", settings.health_token)
        if "workers" not in seen:  # an older version, which runs on while this one is being put in its place
            seen = _get(host, port, "/workers", settings.health_token)
        workers = list(seen.pop("workers", []))
        return PoolView(seen.pop("health", health), workers, seen)
    except _Refused:
        return PoolView(health, problem="the pool shows its workers only to who knows its HEALTH_TOKEN")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        where = f"{host}:{port}"
        return PoolView(
            problem=f"no pool answers at {where} ({reason}); HEALTH_PORT says where; `--all` asks Redis only"
        )
    except (ValueError, AttributeError):
        return PoolView(problem=f"what answers at {host}:{port} is not a pool of ours")


def look_at_named(name: str, settings: Settings) -> PoolView:
    """Look at the pool called *name* here, wherever it answers, else at its table; for no name at the only one."""
    try:
        with boards_of(name) as boards:
            board = the_only(boards)
            asked = look_at_pool(settings, board.head.port) if board.head.port else PoolView()
            return asked if asked.workers and _name_of(asked) == board.head.name else _read(board)
    except Quit as missing:
        return PoolView(problem=missing.sentences[0].rstrip("."))


def _name_of(pool: PoolView) -> str:
    return str(pool.health["worker_id"]) if pool.health else ""


def _read(board: Scoreboard) -> PoolView:
    """Read what `/status` would say off the pool's table; what was done lately only the pool itself knows."""
    seen = json.loads(Health(board.head.name, board, list).status()[2])
    return PoolView(seen.pop("health"), seen.pop("workers"), seen)


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
