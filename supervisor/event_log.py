"""The log of a pool's events, which the program that is run provides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

Log = Callable[[str, str, dict[str, object]], None]
"""Writes one line: level (debug, info, warn, error), event (past tense, dotted), fields."""


class EventLog:
    """A log whose troubles (closed, full) are not ours; fields go in by name."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, level: str, event: str, **fields: object) -> None:
        with suppress(Exception):
            self._log(level, event, fields)
