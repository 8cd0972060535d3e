"""Faults of a primary with a replica, watched by sentinels."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.storm_faults import ODD, WEIGHTS, Faults
from tests.kit import RedisServer
from tests.kit.sentinels import Sentinels

ONE_REPLICA = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0")
"""Who has no replica takes no writes: neither a primary that was cut off nor one whose replica is not there yet."""
DOWN_AFTER_MS = 2000
SECURED_MS = 5000
MAY_HAVE_UNSEEN_S = 1.0  # what was acknowledged that shortly before a primary is lost may not have reached its replica
LOOK_S = 0.05


class WatchedRedis(Faults):
    """
    Two servers, of which sentinels make one the primary.

    A planned failover loses nothing. Where the primary is lost, so may be what it has acknowledged last: an item that
    was taken or settled then may run again, and has one result all the same. What was put in is waited for.
    """

    weights = WEIGHTS | {"kill_client": 5, "fail_over": 6, "kill_primary": 3, "freeze_primary": 3}

    def __init__(
        self, pair: Sentinels, folder: Path, count: int, workers: int, lease_s: float, chance: random.Random
    ) -> None:
        self.pair = pair
        super().__init__(pair.primary.client(), [(pair.url, None)] * count, folder, workers, lease_s, chance)

    def secure(self) -> None:
        if not self.db.wait(1, SECURED_MS):
            self.seen.troubles.append("the replica did not take what was put in")

    def fail_over(self) -> bool:
        """As an operator does it: writes wait meanwhile, so that nothing is lost."""
        old, new = self.pair.now()
        if not self.redis_up or not self.pair.hand_over():
            return False
        self._go_over(old, new, lambda: None)
        return True

    def kill_primary(self) -> bool:
        return self._lose_primary(RedisServer.kill, lambda _: None)

    def freeze_primary(self) -> bool:
        """It takes itself for the primary still when it goes on."""
        return self._lose_primary(RedisServer.freeze, RedisServer.thaw)

    def _lose_primary(self, lose: Callable[[RedisServer], None], find: Callable[[RedisServer], None]) -> bool:
        if not self.redis_up:
            return False
        old, new = self.pair.now()
        self.odd = tuple(event for event in ODD if event != "entry.trimmed")  # rows of items taken just now are lost
        began = time.monotonic()
        lose(old)

        def back() -> None:
            self.seen.forgotten.append((began - MAY_HAVE_UNSEEN_S, time.monotonic()))

        self._go_over(old, new, back, find)
        return True

    def _go_over(
        self,
        old: RedisServer,
        new: RedisServer,
        back: Callable[[], None],
        find: Callable[[RedisServer], None] = lambda _: None,
    ) -> None:
        """Wait until *new* is the primary, then for *old*, once it is found again, to be its replica."""
        self.redis_up, began = False, time.monotonic()
        found = False

        def look() -> None:
            nonlocal found
            if not found and self.pair.named() == new:
                found = True
                find(old)
            if not (found and self.pair.joined(old, new)):
                self.clock.later(LOOK_S, look)
                return
            self.db = new.client()
            self.redis_up = True
            back()
            self._disturb("", since=began)

        look()
