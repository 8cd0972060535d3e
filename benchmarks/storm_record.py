"""Record of what a storm has done and seen while it lasted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.faults.journal import Journal


class Hit(NamedTuple):
    """A fault that a worker met; *until* it went on, for one that was stopped."""

    kind: str
    pid: int
    at: float
    until: float
    where: str  # its supervisor's place


class Disturbance(NamedTuple):
    """When something else than a worker was at fault: at one supervisor's, or for all."""

    where: str
    at: float
    until: float


@dataclass(slots=True)
class Seen:
    """
    All that the storm saw while it lasted.

    Attributes:
        places: At whose place each worker was, by its pid.
        forgotten: Spans of time of which the Redis that came after does not know all.
    """

    lease_s: float
    faults: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)
    forgotten: list[tuple[float, float]] = field(default_factory=list)
    logged: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)


class Tail(Journal):
    """The journal, read as it grows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "journal"
        self._offset = 0
        self._last: dict[int, str] = {}

    def running(self) -> set[int]:
        """The processes that are in the midst of a run, or died so."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    _, what, pid, _ = line.decode().split()
                    self._last[int(pid)] = what
                self._offset = file.tell()
        return {pid for pid, what in self._last.items() if what == "start"}
