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
            return Wire(server, _start_pool(started, folder, server, workers, {"PYTHONPATH": str(ROOT), **settings}))

        yield start


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """A stage for the whole file, whose pools last as long."""
    with ExitStack() as started:
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="ex-")))
        server = RedisServer(folder)
        started.callback(server.close)

        def start(server: RedisServer, *, workers: int = 2, **settings: str) -> Pool:
            return _start_pool(started, Path(tempfile.mkdtemp(dir=folder)), server, workers, settings)

        stage = Stage(server, start, folder)
        started.callback(stage.db.close)
        yield stage


def _start_pool(started: ExitStack, folder: Path, server: RedisServer, workers: int, settings: dict[str, str]) -> Pool:
    env = {"WORKERS": str(workers), "WORKER_ID": f"test-{uuid.uuid4().hex[:8]}"}
    pool = Pool(folder, ("run",), {**env, **server.env, **settings})
    started.callback(pool.close)
    return pool.wait_ready(60)
