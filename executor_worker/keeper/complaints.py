"""Say once what Redis refuses a duty, then at intervals: the duties try again each second or oftener."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from executor_worker.broker.connection.advice import advice_of
from executor_worker.errors import StreamRefused
from executor_worker.telemetry import logs

AGAIN_S = 60.0
MOST_KNOWN = 100
_NUMBERS = re.compile(r"[0-9]+")


class Complaints:
    """Complaints of Redis, as they were logged lately; those that differ in ids and lines alone are one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent_until: dict[str, float] = {}

    def refused(self, error: StreamRefused) -> None:
        """Log *error* unless the same was logged within the last minute."""
        now, kind = self._clock(), _NUMBERS.sub("0", str(error))
        if now < self._silent_until.get(kind, 0.0):
            return
        if len(self._silent_until) >= MOST_KNOWN:
            self._silent_until.clear()
        self._silent_until[kind] = now + AGAIN_S
        logs.error("redis.refused", **advice_of(error, "see what is wrong with this Redis"))
