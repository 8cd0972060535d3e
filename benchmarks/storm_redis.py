"""Faults of a Redis and of the lines to it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.storm_faults import WEIGHTS, Faults
from benchmarks.storm_places import Supervisor
from tests.kit import Proxy, RedisServer


class SingleRedis(Faults):
    """One server, which keeps what it has acknowledged, and bad lines to it."""

    weights = WEIGHTS | {
        "cut_line": 7,
        "lose_replies": 5,
        "black_hole": 2,
        "kill_client": 5,
        "restart_redis": 2,
        "freeze_redis": 1,
    }

    def __init__(
        self, server: RedisServer, folder: Path, count: int, workers: int, lease_s: float, chance: random.Random
    ) -> None:
        self.server = server
        lines = [Proxy(server.port) for _ in range(count - 1)]
        # The first is on the server's own socket, where only CLIENT KILL cuts its lines.
        addresses = [(server.unix_url, None), *((line.addr, line) for line in lines)]
        super().__init__(server.client(), addresses, folder, workers, lease_s, chance)

    def cut_line(self) -> bool:
        one, line = self._line()
        line.cut()
        self._disturb(one.name)
        return True

    def lose_replies(self) -> bool:
        one, line = self._line()
        line.lose_replies = True
        self._mend_later(one, line, self._chance.uniform(0.02, 0.5))
        return True

    def black_hole(self) -> bool:
        one, line = self._line()
        line.black_hole = True
        self._mend_later(one, line, self._chance.uniform(0.1, 2 * self._lease_s))
        return True

    def restart_redis(self) -> bool:
        crash = self._chance.random() < 0.5
        return self._away(1.5, self.server.kill if crash else self.server.stop, self.server.start)

    def freeze_redis(self) -> bool:
        return self._away(self._lease_s, self.server.freeze, self.server.thaw)

    def _line(self) -> tuple[Supervisor, Proxy]:
        return self._chance.choice([(one, one.line) for one in self.supervisors if one.line is not None])

    def _mend_later(self, one: Supervisor, line: Proxy, seconds: float) -> None:
        began = time.monotonic()

        def mend() -> None:
            line.lose_replies = line.black_hole = False
            line.cut()
            self._disturb(one.name, since=began)

        self.clock.later(seconds, mend)
        self._disturb(one.name, seconds)

    def _away(self, longest_s: float, leave: Callable[[], None], come_back: Callable[[], None]) -> bool:
        if not self.redis_up:
            return False
        self.redis_up, began = False, time.monotonic()
        leave()

        def back() -> None:
            come_back()
            self.redis_up = True
            self._disturb("", since=began)

        seconds = self._chance.uniform(0.0, longest_s)
        self.clock.later(seconds, back)
        self._disturb("", seconds)
        return True
