"""
Throttles of models: what a provider asks of one caller (429, 529) it asks of all that use the same key and model.
A refused key is refused to all of them as well.

Providers know only this: they ask before each attempt and tell how it ended. `Alone` is for a process by itself;
a worker's throttle is shared by its fleet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from executor_worker.errors import ModelError, ModelRefused
from executor_worker.run_context import RunContext

LONGEST_HELD_S = 300.0
"""One call tries again after that, whatever was asked for: accounts are topped up, and servers mistaken."""


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Attributes:
        seconds: Until it is worth asking again.
        key: What is waited for, by a name that the worker's stream knows; empty: nothing shared.
        refused: The provider refuses the key: however long that lasts, it is not the item's fault.
    """

    seconds: float
    key: str = ""
    refused: bool = False


class Throttle(Protocol):
    """One provider, address and key."""

    def admit(self, model: str, run_context: RunContext) -> Wait | None:
        """Ask whether *model* may be called now; None: yes, and `ended` is called afterwards in any case."""
        ...

    def ended(self, model: str, run_context: RunContext, error: ModelError | None, *, answered: bool) -> None:
        """
        Tell how a call ended that was admitted.

        Args:
            error: Set if the provider asked for fewer calls.
            answered: The provider took the call, and did what it was asked or said what is wrong with it.
        """
        ...

    def refused(self, model: str, run_context: RunContext, error: ModelRefused) -> Wait | None:
        """
        Tell that a call that was admitted has been refused for its key.

        Returns:
            When to try again, if the key has worked before: else it fails at once.
        """
        ...

    def key(self, model: str) -> str:
        """Name what a call of *model* would wait for; see `Wait`."""
        ...


class Alone:
    """Remembers what this process was told, so that a model it was sent away from is not asked again too soon."""

    def __init__(self) -> None:
        self._not_before: dict[str, float] = {}

    def admit(self, model: str, run_context: RunContext) -> Wait | None:
        seconds = self._not_before.get(model, 0.0) - run_context.clock()
        return Wait(seconds) if seconds > 0 else None

    def ended(self, model: str, run_context: RunContext, error: ModelError | None, *, answered: bool) -> None:
        if error is not None and error.retry_after is not None:
            self._not_before[model] = run_context.clock() + min(error.retry_after, LONGEST_HELD_S)

    def refused(self, model: str, run_context: RunContext, error: ModelRefused) -> Wait | None:
        return None

    def key(self, model: str) -> str:
        return ""


Throttles = Callable[[str, str, str], Throttle]
"""Makes the throttle of a provider, its address and a key."""


def alone(_provider: str, _base_url: str, _key: str) -> Throttle:
    """Make one for this process alone."""
    return Alone()
