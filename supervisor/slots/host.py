"""The host of a slot: what a slot needs of the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from supervisor.event_log import EventLog
from supervisor.processes.processes import Child, Exit
from supervisor.program import PoolSettings


class Fork(Protocol):
    def __call__(self, name: str, main: Callable[[], int], set_handlers: Callable[[], None]) -> Child: ...


@dataclass(frozen=True, slots=True)
class Host:
    """
    The source of a slot's children.

    Attributes:
        fork: Makes a child that runs `main` and returns its exit status.
    """

    fork: Fork
    now: Callable[[], float]
    log: EventLog


class Rules(Protocol):
    """The rules that hold for all slots of a pool; see `PoolLifecycle`."""

    @property
    def settings(self) -> PoolSettings: ...
    @property
    def generation(self) -> int:
        """Of the settings: raised by each reload."""

    @property
    def draining(self) -> bool: ...
    @property
    def keeper_needed(self) -> bool:
        """Tell whether the keeper still has something to do: not any more at the end of a drain."""

    def boot_failed(self, died: Exit, failures: int) -> None:
        """Decide what follows from a child that did not come up, the last of *failures* in a row in its slot."""
