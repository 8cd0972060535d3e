"""Servers for the broker's tests, started once for all of them and emptied before each; links and consumers."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker import Consumer, Endpoint, Link
from tests.kit import RedisServer
from tests.kit.fake_redis import FakeRedis
from tests.unit.executor_worker.broker.acts import Client


@pytest.fixture(scope="session")
def shared_server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of each kind, for all tests."""
    if request.param == "fake":
        yield FakeRedis()
        return
    with tempfile.TemporaryDirectory(prefix="ex-") as folder:
        server = RedisServer(Path(folder), request.param)
        yield server
        server.close()


@pytest.fixture
def db(shared_server: RedisServer) -> Iterator[Client]:
    """A plain client of an empty server: what tests look with."""
    client = shared_server.client()
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def make_link(shared_server: RedisServer | FakeRedis, db: Client) -> Iterator[Callable[..., Link]]:
    """Make links to it, over its unix socket unless told otherwise."""
    made: list[Link] = []

    def make(addr: str | None = None, **options: Any) -> Link:
        if isinstance(shared_server, FakeRedis):
            made.append(shared_server.link(name="test", **options))
        else:
            made.append(Link(Endpoint.parse(addr or shared_server.unix_url), name="test", **options))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def link(make_link: Callable[..., Link]) -> Link:
    """A link to it."""
    return make_link()


@pytest.fixture
def consumer(make_link: Callable[..., Link]) -> Callable[..., Consumer]:
    """Make consumers, each with a link of its own."""

    def make(name: str | None = None, *, addr: str | None = None, **options: Any) -> Consumer:
        given = {"lease_s": 30.0, **options}
        return Consumer(make_link(addr), name or f"w-{uuid.uuid4().hex[:6]}.1", **given)

    return make


@pytest.fixture
def event_fd() -> Iterator[int]:
    """An eventfd to be woken by."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)
