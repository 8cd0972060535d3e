"""Waiting for a Redis that is away."""

from __future__ import annotations

import random
import select
from collections.abc import Callable

from executor_worker.errors import StreamError
from supervisor.scoreboard.scoreboard import Row

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0


class RedisWait:
    """
    Waits for a Redis that is away: longer from try to try, until the worker has to give up what it holds.

    Attributes:
        ended: Whoever waits gives up.
    """

    def __init__(self, row: Row) -> None:
        self.ended = False
        self._row = row

    def wait(self, tries: int) -> bool:
        """Wait after that many *tries*; False to give up."""
        self._row.clear_wake()
        if not self.ended:
            wait_for_wake(self._row, random.uniform(0.5, 1.0) * min(FIRST_WAIT_S * 2**tries, LONGEST_WAIT_S))
        return not self.ended

    def persistently(self, read: Callable[[str], bytes | None]) -> Callable[[str], bytes | None]:
        """Make *read* try again until Redis answers, or until it is time to give up."""

        def insist(key: str) -> bytes | None:
            tries = 0
            while True:
                try:
                    return read(key)
                except StreamError:
                    tries += 1
                    if not self.wait(tries):
                        raise

        return insist


def wait_for_wake(row: Row, seconds: float) -> None:
    """Wait until *row* is woken, *seconds* at most."""
    poll = select.poll()
    poll.register(row.wake_fd, select.POLLIN)
    poll.poll(seconds * 1000)
