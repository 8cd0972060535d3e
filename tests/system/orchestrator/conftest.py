"""The orchestrator's API of a real program on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from tests.kit import Pool, RedisServer

Client = Callable[..., httpx2.Client]


@pytest.fixture
def api(executor: Callable[..., Pool], redis_server: RedisServer) -> Callable[..., Pool]:
    """Start `run --api`; settings by name."""

    def start(**settings: Any) -> Pool:
        return executor(redis_server, command=("run", "--api"), **settings)

    return start


@pytest.fixture
def client() -> Iterator[Client]:
    """Make an HTTP client of a pool's API: `client(pool, token="…")`."""
    with ExitStack() as opened:

        def make(pool: Pool, token: str = "", **options: Any) -> httpx2.Client:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            options = {"timeout": 60, **options}
            return opened.enter_context(httpx2.Client(base_url=pool.api_url, headers=headers, **options))

        yield make
