"""Run each test on Redis and on Valkey."""

from __future__ import annotations

import pytest

from tests.unit.executor_worker.broker.fixtures import consumer, db, event_fd, link, make_link, shared_server

__all__ = ["consumer", "db", "event_fd", "link", "make_link", "shared_server"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run of each test for each kind of server."""
    if "shared_server" in metafunc.fixturenames:
        metafunc.parametrize("shared_server", ["redis", "valkey"], indirect=True, scope="session")
