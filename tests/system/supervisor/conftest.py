"""Fixtures for the pool's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.scoreboard.scoreboard import Scoreboard
from tests.system.supervisor.handle import DummyPool


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard(capacity=16)
    yield made
    made.close()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[DummyPool]:
    """A dummy pool that is not started yet; ended with the test."""
    made = DummyPool(tmp_path)
    yield made
    made.end()


@pytest.fixture
def start(pool: DummyPool) -> Callable[..., DummyPool]:
    return pool.start
