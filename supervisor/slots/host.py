"""What a seat needs of the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from supervisor.processes.processes import Child, Exit
from supervisor.program import Journal, PoolSettings


class Host(Protocol):
    """The supervisor, as a seat sees it."""

    @property
    def log(self) -> Journal: ...
    @property
    def settings(self) -> PoolSettings: ...
    @property
    def generation(self) -> int:
        """Of the settings: raised by each reload."""

    @property
    def draining(self) -> bool: ...
    @property
    def keeper_needed(self) -> bool:
        """Whether there is still something for it to do: not any more at the end of a drain."""

    def now(self) -> float: ...
    def fork(self, name: str, main: Callable[[], int], set_handlers: Callable[[], None]) -> Child: ...
    def boot_failed(self, died: Exit, failures: int) -> None:
        """Decide what follows from a child that did not come up, the last of *failures* in a row on its seat."""
