"""The orchestrator's processes, as a pool makes them."""

from __future__ import annotations

import importlib.util

import pytest

from executor_worker.broker import Endpoint
from executor_worker.errors import ConfigError
from executor_worker.program import services
from executor_worker.settings import Settings
from supervisor.scoreboard.scoreboard import Scoreboard


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a wheel installed without it: one sentence with the package and the command, nothing of it imported."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "starlette" else find(name))
    assert not services.api_is_installed()
    board = Scoreboard(1)
    with pytest.raises(ConfigError) as said:
        services.api_services(Settings(), Endpoint.parse("localhost:1"), board)
    assert str(said.value).startswith("API: the API needs the package starlette, which is not installed.")
    assert "pip install 'da-node-executor[orchestrator]'" in str(said.value)
    board.close()
