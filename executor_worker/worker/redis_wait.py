"""Waiting for a Redis that is away."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable
from typing import TypeVar

from executor_worker.errors import StreamError
from supervisor.scoreboard.scoreboard import Row

T = TypeVar("T")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0
STUCK_S = 120.0  # between two tries a worker that does not come back is ended; its item is run again
STUCK = "stuck"  # the failure code then


class RedisWait:
    """
    Waits for a Redis that is away: longer from try to try, until the worker has to give up what it holds.

    While Redis is away for the whole pool that is when the graph's state has expired too: no other worker could go
    on with the item meanwhile. A worker that alone gets no connection gives up after a lease, so that another one does.

    Args:
        alone: Tells whether Redis answers others of this pool while we have no connection.
        alone_s, away_s: How long one wait may last, in either case.

    Attributes:
        ended: The worker gives up waiting.
    """

    def __init__(
        self,
        row: Row,
        alone: Callable[[], bool] = lambda: False,
        *,
        alone_s: float = 30.0,
        away_s: float = 86400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ended = False
        self._row = row
        self._alone = alone
        self._alone_s, self._away_s = alone_s, away_s
        self._clock = clock
        self._began = self._alone_since = 0.0

    def wait(self, tries: int) -> bool:
        """Wait after that many *tries*; False to give up."""
        self._row.clear_wake()
        if self._is_over(tries):
            return False
        self._row.postpone(int((self._clock() + STUCK_S) * 1e9))
        wait_for_wake(self._row, random.uniform(0.5, 1.0) * min(FIRST_WAIT_S * 2 ** min(tries, 10), LONGEST_WAIT_S))
        return not self.ended

    def _is_over(self, tries: int) -> bool:
        now = self._clock()
        if tries == 1:
            self._began = now
        if tries == 1 or not self._alone():
            self._alone_since = now
        return self.ended or now > self._alone_since + self._alone_s or now > self._began + self._away_s

    def insist(self, read: Callable[[], T]) -> T:
        """
        Try to *read* until Redis answers.

        Raises:
            StreamError: It is time to give up.
        """
        tries = 0
        while True:
            try:
                return read()
            except StreamError:
                tries += 1
                if not self.wait(tries):
                    raise


def wait_for_wake(row: Row, seconds: float) -> None:
    """Wait until *row* is woken, *seconds* at most."""
    poll = select.poll()
    poll.register(row.wake_fd, select.POLLIN)
    poll.poll(seconds * 1000)
