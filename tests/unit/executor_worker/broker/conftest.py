"""Run each test on fakeredis, in this process; unless QUICK is set also on Redis and Valkey: they are compared."""

from __future__ import annotations

import os

import pytest

from tests.unit.executor_worker.broker.fixtures import consumer, db, event_fd, link, make_link, shared_server

__all__ = ["consumer", "db", "event_fd", "link", "make_link", "shared_server"]
KINDS = ["fake"] if os.environ.get("QUICK") else ["fake", "redis", "valkey"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run of each test for each kind of server."""
    if "shared_server" in metafunc.fixturenames:
        metafunc.parametrize("shared_server", KINDS, indirect=True, scope="session")
