"""Redis' password in a process that lives longer than it: read again when Redis refuses the one we have."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from executor_worker.broker import Endpoint
from executor_worker.broker.connection.advice import advice_of
from executor_worker.errors import ConfigError, StreamRefused
from executor_worker.settings import ConfigErrors
from executor_worker.telemetry import logs

READ_AGAIN_S = 1.0  # reading all settings takes a hundredth of a second, and every worker does
COMPLAIN_AFTER_S = 3.0  # the new one may be written a moment after it counts
COMPLAIN_AGAIN_S = 60.0
FORGET_S = 30.0  # a refusal so long after the last one is another


class Credentials:
    """
    Looks user and password up where settings come from; for a server at the same place only.

    What else has changed there waits for a reload.

    Args:
        load: Reads where Redis is now, by the settings.
        says: Tells whether a refusal is to be logged: not by every worker if the keeper does.
    """

    def __init__(
        self,
        load: Callable[[], Endpoint],
        says: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._says = says
        self._clock = clock
        self._next_read = self._next_complaint = 0.0
        self._refused_at = -FORGET_S

    def renew(self, current: Endpoint, refused: StreamRefused) -> Endpoint | None:
        """Return the endpoint to try instead of *current*, by which Redis has *refused* us; None: there is none."""
        now = self._clock()
        if now < self._next_read:
            return None
        self._next_read = now + READ_AGAIN_S * random.uniform(0.5, 1.5)
        fresh = self._read()
        if fresh is not None and fresh != current and current.leads_to(fresh):
            logs.info("redis.credentials_renewed")
            return fresh
        self._complain(now, refused)
        return None

    def _read(self) -> Endpoint | None:
        try:
            return self._load()
        except (ConfigError, ConfigErrors):
            return None  # a reload says so

    def _complain(self, now: float, refused: StreamRefused) -> None:
        if now > self._refused_at + FORGET_S:
            self._next_complaint = now + COMPLAIN_AFTER_S
        self._refused_at = now
        if now >= self._next_complaint and self._says():
            self._next_complaint = now + COMPLAIN_AGAIN_S
            logs.error("redis.refused", **advice_of(refused, "see what is wrong with this Redis"))
