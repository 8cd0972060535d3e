"""Poisoned items, and items whose worker had to be ended: the answer that earlier runs give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from executor_worker.broker import Held
from executor_worker.errors import Poisoned
from executor_worker.outcome import Failed
from executor_worker.worker.limits import Limits
from executor_worker.worker.stages import Conclusion
from supervisor.scoreboard.row import Death

KILLED_FOR: Mapping[str, str] = {
    "node_timeout": "the node did not end within its time and could not be interrupted; its worker was ended",
    "cancelled": "the graph was cancelled; the node could not be interrupted, its worker was ended",
    "tool_timeout": "the tool did not end within its time and could not be interrupted; its worker was ended",
}
POISONED = "poisoned"  # the reason on the dead letter
KILLED = "the worker that ran the node had to be ended"


def answer_of_history(attempt: int, failure_code: str, limits: Limits) -> Conclusion | None:
    """
    Answer an item whose earlier runs forbid another one; None: it may run.

    Args:
        attempt: Which run this would be, from 1.
        failure_code: Under which the worker that held it before was ended; "" if it was not.
    """
    if failure_code:
        return Conclusion(Failed(KILLED_FOR.get(failure_code, KILLED), failure_code))
    if attempt <= limits.max_deliveries:
        return None
    ended = f"{_runs(attempt - 1)} with its worker; it is kept in the dead-letter stream"
    return Conclusion(Failed.of(Poisoned(ended)), POISONED)


def tell_last_death(conclusion: Conclusion, deaths: Iterable[Death], item: tuple[str, str]) -> Conclusion:
    """
    Say in a poisoned item's answer how the last worker that ran it died; nothing if that was on another host.

    Args:
        deaths: Each slot's last.
        item: Stream and entry.
    """
    outcome = conclusion.outcome
    if conclusion.dead_reason != POISONED or not isinstance(outcome, Failed):
        return conclusion
    found = [(held.count, death) for held, death in _parsed(deaths) if held.name == item]
    if not found:
        return conclusion
    _, (_, cause, phase, _) = max(found)
    how = cause.removeprefix("signal:").replace("exit:", "exit status ")
    return replace(
        conclusion, outcome=replace(outcome, error=f"{outcome.error}. The last ended by {how} in phase {phase}")
    )


def tell_place(conclusion: Conclusion, death: Death, item: tuple[str, str]) -> Conclusion:
    """
    Say for the log in the answer of an item whose worker was ended where that stood: file and line, or the phase.

    Args:
        death: That of the slot's last worker.
        item: Stream and entry.
    """
    outcome, found = conclusion.outcome, death_with(death, item)
    if found is None or not isinstance(outcome, Failed) or outcome.where:
        return conclusion
    return replace(conclusion, outcome=replace(outcome, where=found.line or found.phase))


def death_with(death: Death, item: tuple[str, str]) -> Death | None:
    """Answer *death* if the worker held *item*."""
    return next((one for held, one in _parsed([death]) if held.name == item), None)


def _parsed(deaths: Iterable[Death]) -> Iterable[tuple[Held, Death]]:
    for death in deaths:
        with suppress(ValueError):
            yield Held.parse(death.held), death


def _runs(runs: int) -> str:
    return f"the item was run {runs} times and each run ended" if runs > 1 else "the item's only run ended"
