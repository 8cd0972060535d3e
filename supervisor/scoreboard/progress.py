"""Progress of a run, as its worker shows it on the scoreboard."""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from typing import NamedTuple

from supervisor.scoreboard.cells import Twin, clip

_LAYOUT = Struct("<q16pqqq")  # run, then what `Progress` holds
_MODE_LIMIT = 15  # bytes


class Progress(NamedTuple):
    """
    Attributes:
        mode: What kind of run it is; empty while that is not known.
        step, steps: Which of its steps it is at, of how many at most; 0: it has none that are counted.
        ends_ns: When the run's time is up; 0: unknown.
    """

    mode: str = ""
    step: int = 0
    steps: int = 0
    ends_ns: int = 0


class ProgressCell:
    """Holds one run's progress; of another run it says nothing, so it needs no clearing."""

    __slots__ = ("_twin",)
    SIZE = Twin.size(_LAYOUT)  # bytes

    def __init__(self, shared: mmap, offset: int) -> None:
        self._twin = Twin(shared, offset, _LAYOUT)

    def write(self, run: int, progress: Progress) -> None:
        self._twin.write(run, clip(progress.mode, _MODE_LIMIT), *progress[1:])

    def read(self, run: int) -> Progress:
        """Read the progress of *run*; empty if there is no run (0) or the cell belongs to another."""
        written_of, mode, *rest = self._twin.read()
        return Progress(str(mode, "utf-8", "replace"), *rest) if run and run == written_of else Progress()
