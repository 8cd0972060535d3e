"""What is said of items whose workers have died."""

from __future__ import annotations

import pytest

from executor_worker.broker import Held
from executor_worker.outcome import Failed
from executor_worker.worker.limits import Limits
from executor_worker.worker.poisoned import answer_of_history, tell_last_death, tell_place
from supervisor.scoreboard.row import Death

LIMITS = Limits(60, 3, 1000)


def held(entry: str, count: int) -> str:
    return str(Held("executor.work", entry, count, "w.1"))


@pytest.mark.parametrize(
    ("deaths", "end"),
    [
        ([], "dead-letter stream"),
        ([Death("", "", "", "")], "dead-letter stream"),
        ([Death("cut", "signal:SIGSEGV", "tool:x", "")], "dead-letter stream"),
        ([Death(held("2-0", 3), "signal:SIGSEGV", "tool:x", "")], "dead-letter stream"),
        ([Death(held("1-0", 3), "signal:SIGSEGV", "tool:x", "")], "The last ended by SIGSEGV in phase tool:x"),
        (
            [Death(held("1-0", 3), "exit:3", "llm", ""), Death(held("1-0", 2), "signal:SIGKILL", "tool:x", "")],
            "exit status 3 in phase llm",
        ),
    ],
)
def test_a_poisoned_item_says_how_its_last_worker_died(deaths: list[Death], end: str) -> None:
    """Of all that died of it in this pool the last; what other slots died of is not its."""
    poisoned = answer_of_history(4, "", LIMITS)
    assert poisoned is not None
    outcome = tell_last_death(poisoned, deaths, ("executor.work", "1-0")).outcome
    assert isinstance(outcome, Failed) and outcome.error.endswith(end)


def test_what_was_ended_for_another_reason_is_told_by_that() -> None:
    """A node past its time is no poison."""
    late = answer_of_history(2, "node_timeout", LIMITS)
    assert late is not None
    assert tell_last_death(late, [Death(held("1-0", 1), "signal:SIGKILL", "llm", "")], ("executor.work", "1-0")) is late


@pytest.mark.parametrize(
    ("death", "where"),
    [
        (Death("", "", "", ""), ""),
        (Death(held("2-0", 1), "signal:SIGKILL", "tool:x", "shop/stock.py:6"), ""),
        (Death(held("1-0", 1), "signal:SIGKILL", "tool:x", "shop/stock.py:6"), "shop/stock.py:6"),
        (Death(held("1-0", 1), "signal:SIGKILL", "llm", ""), "llm"),
    ],
)
def test_a_node_that_was_ended_with_its_worker_says_where_that_stood(death: Death, where: str) -> None:
    """In the user's code if it was there, else the phase; what another item's worker was at is not its."""
    late = answer_of_history(2, "node_timeout", LIMITS)
    assert late is not None
    outcome = tell_place(late, death, ("executor.work", "1-0")).outcome
    assert isinstance(outcome, Failed) and outcome.where == where
