"""Ends of runs, as scripts tell them to the process that has committed them: it counts them, and no other does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class RunEnd(NamedTuple):
    """
    The end of a run, or of one of its epochs.

    Attributes:
        status: completed, failed or cancelled.
        seconds: Since its epoch began.
    """

    status: str
    seconds: float
    graph_id: str


def run_ends(told: Sequence[bytes]) -> tuple[RunEnd, ...]:
    """Read the ends that a script's reply tells of: '<status> <ms> <id>' each."""
    parts = [text.decode().split(" ", 2) for text in told]
    return tuple(RunEnd(status, int(ms) / 1000, graph_id) for status, ms, graph_id in parts)
