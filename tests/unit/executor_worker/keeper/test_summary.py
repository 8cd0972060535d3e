"""The line a minute that says what the pool did."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.broker.queue.backlog import Backlog
from executor_worker.keeper.summary import Summary
from executor_worker.telemetry.metrics import Recorder
from supervisor.scoreboard.scoreboard import Scoreboard


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    lines: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("executor_worker.telemetry.logs.info", lambda event, **fields: lines.append((event, fields)))
    return lines


def test_a_minute_in_which_something_was_done_is_told_once(said: list[tuple[str, dict[str, Any]]]) -> None:
    """What was done since the last line; a quiet minute has none, one with something in hand has."""
    board = Scoreboard(2)
    row = board.place(1)
    board.place(2)
    told = Summary(board, lambda: [Backlog("executor.work", 9, 2, 3, 1, 40.04)])
    told.run()
    assert said == [], "nothing was done yet"
    record = Recorder(row.counters)
    for _ in range(3):
        record.count("dago_nodes_executed_total", "tool", "completed")
    record.count("dago_nodes_executed_total", "llm", "failed")
    record.count("dago_node_errors_total", "llm_timeout")
    told.run()
    waiting = Backlog("executor.work", 9, 2, 3, 1, 40.04).waiting
    about = {"workers": 2, "busy": 0, "waiting": waiting, "oldest_s": 40.0}
    assert said == [("pool.summary", {"completed": 3, "failed": 1, "errors": {"llm_timeout": 1}, **about})]
    told.run()
    assert len(said) == 1, "nothing more was done"
    row.begin("held", "g/n", "running")
    told.run()
    assert said[1:] == [("pool.summary", {**about, "busy": 1})]
    board.close()
