"""The server's memory: no run is accepted when it is nearly full, so that those that go on have room to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from executor_worker.broker.graphs.errors import RedisFull
from executor_worker.broker.graphs.requests import Steps

FULL_SHARE = 0.9  # of `maxmemory`
SAMPLE_S = 1.0


class Room:
    """
    Room for new runs, as one process knows it: the server is asked when a run is submitted, at most once a second.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sampled_at = -SAMPLE_S
        self._used = self._limit = 0

    def check(self) -> Steps[None]:
        """
        Raises:
            RedisFull: There is none.
        """
        now = self._clock()
        if now >= self._sampled_at + SAMPLE_S:
            (reply,) = yield [(b"INFO", b"memory")]
            if isinstance(reply, bytes):  # a user who may not ask goes on: a full Redis itself refuses what it must
                self._sampled_at = now
                self._used, self._limit = _sizes(dict(line.partition(b":")[::2] for line in reply.split(b"\r\n")))
        if self._limit and self._used > FULL_SHARE * self._limit:
            raise RedisFull(self._used, self._limit)


def _sizes(about: Mapping[bytes, bytes]) -> tuple[int, int]:
    """Read what counts against `maxmemory`, and that; 0: there is no limit."""
    used = int(about.get(b"used_memory", 0)) - int(about.get(b"mem_not_counted_for_evict", 0))
    return used, int(about.get(b"maxmemory", 0))
