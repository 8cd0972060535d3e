"""What is said of items whose workers have died."""

from __future__ import annotations

import pytest

from executor_worker.broker import Held
from executor_worker.outcome import Failed
from executor_worker.worker.limits import Limits
from executor_worker.worker.poisoned import answer_of_history, tell_last_death

LIMITS = Limits(60, 3, 1000)


def held(entry: str, count: int) -> str:
    return str(Held("executor.work", entry, count, "w.1"))


@pytest.mark.parametrize(
    ("deaths", "end"),
    [
        ([], "dead-letter stream"),
        ([("", "", "")], "dead-letter stream"),
        ([("cut", "signal:SIGSEGV", "tool:x")], "dead-letter stream"),
        ([(held("2-0", 3), "signal:SIGSEGV", "tool:x")], "dead-letter stream"),
        ([(held("1-0", 3), "signal:SIGSEGV", "tool:x")], "The last ended by SIGSEGV in phase tool:x"),
        (
            [(held("1-0", 3), "exit:3", "llm"), (held("1-0", 2), "signal:SIGKILL", "tool:x")],
            "exit status 3 in phase llm",
        ),
    ],
)
def test_a_poisoned_item_says_how_its_last_worker_died(deaths: list[tuple[str, str, str]], end: str) -> None:
    """Of all that died of it in this pool the last; what other slots died of is not its."""
    poisoned = answer_of_history(4, "", LIMITS)
    assert poisoned is not None
    outcome = tell_last_death(poisoned, deaths, ("executor.work", "1-0")).outcome
    assert isinstance(outcome, Failed) and outcome.error.endswith(end)


def test_what_was_ended_for_another_reason_is_told_by_that() -> None:
    """A node past its time is no poison."""
    late = answer_of_history(2, "node_timeout", LIMITS)
    assert late is not None
    assert tell_last_death(late, [(held("1-0", 1), "signal:SIGKILL", "llm")], ("executor.work", "1-0")) is late
