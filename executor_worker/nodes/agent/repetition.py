"""A model that goes round in a circle: the same calls with the same results, turn after turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from executor_worker.errors import MaxIterations
from executor_worker.providers.base import ToolCall, ToolResult

TOLD_AT = 3
ENDED_AT = 10
"""More than most agents may call their model; a model that waits by asking again and again gets so long."""

_Step = tuple[Any, ...]


class Repetition:
    """
    Attributes:
        count: How many turns in a row were the same, the last one included.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: list[_Step] = []

    def note(self, calls: Iterable[ToolCall], results: Iterable[ToolResult]) -> None:
        """Compare a turn's calls and results with those of the turn before, whatever their order and ids."""
        steps = [_step(call, result) for call, result in zip(calls, results, strict=True)]
        self.count = self.count + 1 if _same(steps, self._last) else 1
        self._last = steps

    @property
    def advice(self) -> str:
        """The advice that the model is given; empty while there is no reason to."""
        if self.count < TOLD_AT:
            return ""
        return (
            f"You have now made the same call {self.count} times in a row, each time with the same result. "
            "Making it again will not help: try something else, or answer with what you have."
        )

    @property
    def limit(self) -> MaxIterations | None:
        if self.count < ENDED_AT:
            return None
        return MaxIterations(f"a loop: the model made the same call with the same result {self.count} times in a row")


def _step(call: ToolCall, result: ToolResult) -> _Step:
    return call.name, call.arguments, call.problem, result.text, result.is_error, result.blocks


def _same(steps: list[_Step], others: list[_Step]) -> bool:
    try:
        return all(step in others for step in steps) and all(step in steps for step in others)
    except RecursionError:  # arguments nested as deep as a parser lets them be
        return False
