"""The server's memory: no run is accepted when it is nearly full, so that those that go on have room to end."""

from __future__ import annotations

import time
from collections.abc import Callable

from executor_worker.broker.graphs.errors import RedisFull

FULL_PERCENT = 90  # of `maxmemory`
SAMPLE_S = 1.0


class Room:
    """
    Room for new runs, as one process knows it: what accepts them looks at the server's memory, at most once a second.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sampled_at = -SAMPLE_S
        self._full: tuple[int, int] | None = None

    def full_percent(self) -> int:
        """
        Answer the percents from which on the script has to refuse; 0: it was looked at a moment ago.

        Raises:
            RedisFull: It was full then.
        """
        if self._clock() >= self._sampled_at + SAMPLE_S:
            return FULL_PERCENT
        if self._full is not None:
            raise RedisFull(*self._full)
        return 0

    def note(self, full: tuple[int, int] | None) -> None:
        """Keep what the script has found: bytes used, and how many there may be, if it was full."""
        self._sampled_at, self._full = self._clock(), full
