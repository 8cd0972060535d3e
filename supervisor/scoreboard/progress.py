"""Progress of a run, as its worker shows it on the scoreboard."""

from __future__ import annotations

from typing import Any, NamedTuple


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


def progress_of(run: int, written: tuple[Any, ...]) -> Progress:
    """Read the progress of *run*; empty if there is no run (0), or what is *written* is another's: none is cleared."""
    written_of, mode, *rest = written
    return Progress(str(mode, "utf-8", "replace"), *rest) if run and run == written_of else Progress()
