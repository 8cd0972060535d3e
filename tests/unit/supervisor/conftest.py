"""A scoreboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.scoreboard.scoreboard import Scoreboard


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    made = Scoreboard(capacity=16)
    yield made
    made.close()
