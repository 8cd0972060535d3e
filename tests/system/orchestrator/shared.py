"""One pool with an API for all tests of a file that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.kit import Pool, RedisServer, own_name


@contextmanager
def shared_api(factory: pytest.TempPathFactory, **settings: Any) -> Iterator[Pool]:
    """Start `run --api` on a Redis of its own; settings by name."""
    with ExitStack() as started:
        folder = factory.mktemp("shared")
        (folder / "redis").mkdir()
        (folder / "pool").mkdir()
        server = RedisServer(folder / "redis")
        started.callback(server.close)
        env = {"WORKERS": "2", "WORKER_ID": own_name("shared"), **server.env, **settings}
        pool = Pool(folder / "pool", ("run", "--api"), env)
        started.callback(pool.close)
        yield pool.wait_ready()
