"""What a seat needs of the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from supervisor.process import Child, Exit
from supervisor.program import Journal, PoolSettings

if TYPE_CHECKING:
    from supervisor.seat import Seat


class Staff(Protocol):
    """The supervisor, as a seat sees it."""

    @property
    def log(self) -> Journal: ...
    @property
    def settings(self) -> PoolSettings: ...
    @property
    def edition(self) -> int:
        """Of the settings: raised by each reload."""

    def now(self) -> float: ...
    def refills(self, seat: Seat) -> bool:
        """Whether its dead child is replaced: a worker's not while draining."""
        ...

    def fork(self, seat: Seat) -> Child: ...
    def boot_failed(self, seat: Seat, died: Exit) -> None: ...
    def count_restart(self, seat: Seat, reason: str) -> None: ...
