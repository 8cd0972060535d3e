"""One Redis and one pool for all tests of a file; each test has graphs of its own."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.wire import Wire
from tests.kit import Pool, RedisServer

TOOLS = Path(__file__).parent / "tools"
WITH_TOOLS = {"TOOL_MODULES": "contract_tools", "PYTHONPATH": str(TOOLS), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A folder for one file's servers; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ex-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def shared_redis(room: Path) -> Iterator[RedisServer]:
    """One Redis for all tests of a file."""
    (room / "redis").mkdir()
    server = RedisServer(room / "redis")
    yield server
    server.close()


@pytest.fixture(scope="module")
def start(room: Path) -> Iterator[Callable[..., Wire]]:
    """
    Start pools for one file: `start(server, workers=2, **settings)`.

    After the file's tests each is ended, and nothing that it started may live.
    """
    with ExitStack() as started:

        def begin(server: RedisServer, *, workers: int = 2, wait: bool = True, **settings: str) -> Wire:
            name = f"test-{uuid.uuid4().hex[:8]}"
            (room / name).mkdir()
            env = {"WORKERS": str(workers), "WORKER_ID": name, **server.env, **WITH_TOOLS, **settings}
            pool = Pool(room / name, ("run",), env)
            started.callback(pool.close)
            return Wire(server, pool.wait_ready() if wait else pool)

        yield begin


@pytest.fixture(scope="module")
def wire(start: Callable[..., Wire], shared_redis: RedisServer) -> Wire:
    """A pool of two with a scripted model and the tools of `contract_tools`, as it is with no other settings."""
    return start(shared_redis, workers=2)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file not yet made: `wait_for_file` keeps a worker busy until it is, at the latest when the test ends."""
    path = tmp_path / "go"
    yield path
    if not path.exists():
        path.touch()
