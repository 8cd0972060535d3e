"""Stages: see `stage.py`; and pools that all tests of a file share."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.wire import Wire
from tests.faults.stage import ROOT, Stage
from tests.kit import Pool, RedisServer


@pytest.fixture
def make_stage(executor: Callable[..., Pool], place: Callable[[str], Path]) -> Iterator[Callable[[RedisServer], Stage]]:
    """Set a stage around a server."""
    with ExitStack() as made:

        def make(server: RedisServer) -> Stage:
            stage = Stage(server, executor, place("journal"))
            made.callback(stage.db.close)
            return stage

        yield make


@pytest.fixture
def stage(redis_server: RedisServer, make_stage: Callable[[RedisServer], Stage]) -> Stage:
    """A stage around a Redis of its own."""
    return make_stage(redis_server)


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[Callable[..., Wire]]:
    """Start a Redis and a pool for the whole file: `shared_pool(workers=2, **settings)`."""
    with ExitStack() as started:

        def start(workers: int = 2, **settings: str) -> Wire:
            folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="ex-")))
            server = RedisServer(folder)
            started.callback(server.close)
            env = {"WORKERS": str(workers), "WORKER_ID": f"test-{uuid.uuid4().hex[:8]}", "PYTHONPATH": str(ROOT)}
            pool = Pool(folder, ("run",), {**env, **server.env, **settings})
            started.callback(pool.close)
            return Wire(server, pool.wait_ready(60))

        yield start
