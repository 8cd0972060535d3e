"""`throttle`: what is held back, seen and let go."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.kit import RedisServer
from tests.system.cli.conftest import Run

ALL = "dago:executor:awaited"


def hold(server: RedisServer, provider: str, account: str, model: str, **fields: Any) -> str:
    """Put up a throttle as workers do; return its key."""
    key, now = f"dago:throttle:{provider}:{account}:{model}", int(time.time() * 1000)
    client: Any = server.client()
    held = {
        "limit": 1,
        "cuts": 1,
        "peak": 0,
        "grown": 0,
        "slow": "1",
        "strikes": 1,
        "since": now,
        "began": now - 60_000,
    }
    client.hset(key, mapping={**held, "not_before": now + 30_000, "why": "llm_rate_limited", **fields})
    client.zadd(f"{key}:waiting", {"executor.work 1-1": 1})
    client.sadd(ALL, key)
    return key


def test_what_is_held_back_is_listed(run: Run, redis_server: RedisServer) -> None:
    """Since when, why, until when, and how much waits; several keys of one model apart."""
    hold(redis_server, "anthropic", "aaaa", "m:1")
    hold(redis_server, "openai", "bbbb", "m-2", refused="HTTP 401 x", why="HTTP 401 x")
    done = run("throttle", "list", **redis_server.env)
    head, first, second = done.out.splitlines()
    assert head.split()[:3] == ["NAME", "SINCE", "WHY"]
    assert first.split()[0] == "anthropic/m:1" and "llm_rate_limited" in first and first.split()[-1] == "aaaa"
    assert second.split()[0] == "openai/m-2" and "key refused: HTTP 401 x" in second
    one, two = run("throttle", "list", "--json", **redis_server.env).json
    assert (one["name"], one["refused"], two["refused"], two["waiting"]) == ("anthropic/m:1", False, True, 1)
    assert 0 < one["opens_s"] <= 30 and one["since"].endswith("Z")


def test_nothing_held_back_is_an_empty_list(run: Run, redis_server: RedisServer) -> None:
    """Not an error."""
    assert run("throttle", "list", "--json", **redis_server.env).json == []
    done = run("throttle", "list", **redis_server.env)
    assert (done.status, done.err) == (0, "nothing is held back\n")
    done = run("throttle", "clear", "--all", **redis_server.env)
    assert (done.status, done.err) == (0, "nothing is held back\n")


@pytest.mark.parametrize("names", [("anthropic/m",), ("dago:throttle:anthropic:aaaa:m",), ("--all",)])
def test_a_throttle_is_cleared(names: tuple[str, ...], run: Run, redis_server: RedisServer) -> None:
    """By its name, by its key, or all; what waits for it is left for workers to take."""
    key = hold(redis_server, "anthropic", "aaaa", "m")
    done = run("throttle", "clear", *names, **redis_server.env)
    assert (done.status, done.out) == (0, "anthropic/m is no longer held back; 1 items waited for it\n")
    client: Any = redis_server.client()
    assert not client.exists(key) and client.zcard(f"{key}:waiting") == 1


def test_what_is_not_held_back_is_not_found(run: Run, redis_server: RedisServer) -> None:
    """Said after those that were; and a name is needed."""
    hold(redis_server, "anthropic", "aaaa", "m")
    done = run("throttle", "clear", "anthropic/m", "anthropic/other", **redis_server.env)
    assert done.status == 1 and "anthropic/m is no longer" in done.out and "'anthropic/other'" in done.err
    assert run("throttle", "clear", **redis_server.env).status == 2
