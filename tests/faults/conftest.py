"""Stages: see `stage.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.stage import Stage
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
