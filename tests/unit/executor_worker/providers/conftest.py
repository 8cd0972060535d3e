"""Servers for the providers' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from loguru import logger

from executor_worker.providers.base import Provider
from tests.unit.executor_worker.providers.dialects import Dialect
from tests.unit.executor_worker.providers.fault_server import FaultServer


@pytest.fixture
def faulty() -> Iterator[FaultServer]:
    """A server that replies as it is told."""
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture(params=["anthropic", "openai"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Both APIs, one after the other."""
    return Dialect(request.param)


@pytest.fixture
def provider(dialect: Dialect, faulty: FaultServer) -> Iterator[Provider]:
    """The adapter of *dialect*, talking to *faulty*."""
    made = dialect.provider(faulty.url)
    yield made
    made.close()


@pytest.fixture
def logged() -> Iterator[Callable[[str], list[dict[str, object]]]]:
    """Collect log records: `logged("model.retried")` gives their fields."""
    records: list[tuple[str, dict[str, object]]] = []
    handler = logger.add(lambda message: records.append((message.record["message"], dict(message.record["extra"]))))
    yield lambda event: [fields for name, fields in records if name == event]
    logger.remove(handler)
