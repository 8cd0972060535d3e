"""What an operator asks first, read from counters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from executor_worker.keeper.rates import Rates
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.summary import Reader, added, figures
from supervisor.scoreboard.scoreboard import Scoreboard

NOTHING = {
    "completed": 0, "failed": 0, "node_seconds": 0.0, "errors": {}, "llm_calls": 0, "llm_failures": 0, "tokens": {},
    "cost_usd": None, "postponed": 0, "restarts": {},
}  # fmt: skip


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """Two slots."""
    made = Scoreboard(4)
    made.place(1), made.place(2)
    yield made
    made.close()


def work(board: Scoreboard, slot: int, *, usd: float | None = None) -> None:
    """Count a node of each end, two seconds of them, and a model call."""
    recorder = Recorder(board.row(slot).counters)
    count = recorder.count
    recorder.observe("dago_node_duration_seconds", 2.0, "llm")
    count("dago_nodes_executed_total", "llm", "completed")
    count("dago_nodes_executed_total", "tool", "failed")
    count("dago_node_errors_total", "tool_failed")
    count("dago_llm_calls_total", "m")
    count("dago_llm_tokens_total", "m", "input", amount=1000)
    count("dago_tool_executions_total", "t")
    if usd is not None:
        count("dago_llm_cost_usd_total", "m", amount=usd)


def test_figures_are_told_by_what_matters(board: Scoreboard) -> None:
    """Models and node types are added up, errors and kinds of tokens told apart; what is not asked for is left out."""
    work(board, 1)
    work(board, 1, usd=0.25)
    board.row(1).counters.add(b"dago_node_errors_total", 1)  # another version's: it has no label
    assert figures(Reader().tally(board.row(1).counters)) == NOTHING | {
        "completed": 2, "failed": 2, "node_seconds": 4.0, "errors": {"tool_failed": 2}, "llm_calls": 2,
        "tokens": {"input": 2000}, "cost_usd": 0.25,
    }  # fmt: skip


def test_figures_of_several_add_up() -> None:
    """Strange ones are left out: whoever wrote them may be another version."""
    one = NOTHING | {
        "completed": 2,
        "node_seconds": 1.5,
        "errors": {"internal": 1},
        "cost_usd": 0.5,
        "tokens": {"input": 7},
    }
    odd = {"completed": "two", "errors": {"internal": None}, "seconds": 60, "cost_usd": None, "tokens": 3}
    assert added([one, one, odd]) == one | {
        "completed": 4, "node_seconds": 3.0, "errors": {"internal": 2}, "cost_usd": 1.0, "tokens": {"input": 14},
    }  # fmt: skip
    assert added([]) == NOTHING


def test_the_last_minute_moves_on(board: Scoreboard) -> None:
    """What is older is forgotten, totals are not; figures are a slot's own, reasons for restarts the pool's."""
    now = 100.0
    rates = Rates(board, lambda: now)
    work(board, 1, usd=0.1)
    board.head.counters.add(b"dago_worker_restarts_total\x1fcrashed", 1)
    told = rates.of_pool()
    assert told["last_minute"]["completed"] == told["totals"]["completed"] == 1
    assert told["last_minute"]["restarts"] == {"crashed": 1}
    for _ in range(13):
        now += 5.0
        rates.run()
    work(board, 2)
    told = rates.of_pool()
    assert told["last_minute"] | {"restarts": {}} == NOTHING | {
        "seconds": 60.0, "completed": 1, "failed": 1, "node_seconds": 2.0, "errors": {"tool_failed": 1}, "llm_calls": 1,
        "tokens": {"input": 1000}, "cost_usd": 0.0,
    }  # fmt: skip
    assert told["totals"]["completed"] == 2 and told["totals"]["restarts"] == {"crashed": 1}
    now += 5.0
    rates.run()
    assert [(slot, of["completed"], of["seconds"]) for slot, of in rates.of_slots().items()] == [
        (1, 0, 60.0),
        (2, 1, 60.0),
    ]
    assert rates.restarts() == {"crashed": 1}


def test_a_slot_that_is_gone_counts_on_for_the_pool(board: Scoreboard) -> None:
    """One that comes is measured from its first moment."""
    rates = Rates(board, lambda: 0.0)
    work(board, 2)
    board.remove(2)
    board.place(3)
    work(board, 3)
    rates.run()
    assert rates.of_pool()["last_minute"]["completed"] == 2
    assert {slot: of["completed"] for slot, of in rates.of_slots().items()} == {1: 0, 3: 1}
