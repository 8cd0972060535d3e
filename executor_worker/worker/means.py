"""The means by which all runs of a worker are controlled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from executor_worker.broker.fleet.breakers import HeldBack
from executor_worker.run_context import Circuit
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from supervisor.scoreboard.scoreboard import Row


class Breakers(Protocol):
    """Circuit breakers of tools; see `FleetBreakers`. They are asked only if one of these is true."""

    unsure: bool

    @property
    def active(self) -> Callable[[], bool]: ...

    def admit(self, circuits: Sequence[Circuit]) -> HeldBack | None: ...

    def failed(self, circuits: Sequence[Circuit], code: str) -> HeldBack | None: ...

    def answered(self, circuits: Sequence[Circuit]) -> None: ...


class NoBreakers:
    """Holds nothing back."""

    unsure = False

    def active(self) -> bool:
        return False

    def admit(self, circuits: Sequence[Circuit]) -> HeldBack | None:
        return None

    def failed(self, circuits: Sequence[Circuit], code: str) -> HeldBack | None:
        return None

    def answered(self, circuits: Sequence[Circuit]) -> None:
        return


@dataclass(frozen=True, slots=True)
class Means:
    """
    The means by which all runs of a worker are controlled.

    Attributes:
        worker_id: As events tell it.
        breakers: Ask whether a tool is held back.
        longest_wait_s: For a tool that only another pool has.
    """

    row: Row
    recorder: Recorder
    worker_id: str
    tracing: Tracing = NO_TRACING
    breakers: Breakers = field(default_factory=NoBreakers)
    longest_wait_s: float = 900.0
