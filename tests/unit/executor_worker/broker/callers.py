"""Workers that call one model with one key, each with a throttle of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from executor_worker.broker import Link
from executor_worker.broker.fleet.throttle import FleetThrottle
from executor_worker.broker.names import AWAITED
from executor_worker.errors import ModelRateLimited
from executor_worker.providers.throttle import Wait
from executor_worker.run_context import RunContext
from tests.unit.executor_worker.broker.acts import Client

MODEL = "m-1"
KEY = "sk-secret-0123456789"
SAID = (b"why", b"refused")


class Fleet:
    """Workers with one key; each has a throttle of its own."""

    def __init__(self, make_link: Callable[..., Link], db: Client) -> None:
        self._make_link = make_link
        self.db = db
        self.run_context = RunContext(time.monotonic() + 1000)

    def worker(self, name: str, *, key: str = KEY, calling: int = 8, active: bool = True) -> FleetThrottle:
        return FleetThrottle(
            self._make_link(), name, "anthropic", "http://h", key, active=lambda: active, calling=lambda: calling
        )

    def admit(self, worker: FleetThrottle, model: str = MODEL) -> Wait | None:
        return worker.admit(model, self.run_context)

    def refuse(self, worker: FleetThrottle, retry_after: float | None = 0.0) -> None:
        worker.ended(MODEL, self.run_context, ModelRateLimited("busy", retry_after=retry_after), answered=False)

    def answer(self, worker: FleetThrottle) -> None:
        worker.ended(MODEL, self.run_context, None, answered=True)

    def state(self) -> dict[str, float]:
        (place,) = self.db.smembers(AWAITED)
        return {name.decode(): float(value) for name, value in self.db.hgetall(place).items() if name not in SAID}

    def limit(self) -> int:
        return int(self.state()["limit"])
