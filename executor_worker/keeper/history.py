"""History: shows how much waits to be written into the database."""

from __future__ import annotations

import time

from executor_worker.broker.roles.unwritten import how_many
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry.metrics import Gauge

LOOK_S = 2.0
UNUSED_S = 60.0


class History:
    """Counts what is not written yet; a pool without a database asks nothing."""

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._waiting = 0
        self._since: float | None = None

    def run(self) -> float:
        """Returns the seconds until the next look."""
        if not self._around.history:
            return UNUSED_S
        self._waiting, self._since = how_many(self._around.link)
        return LOOK_S

    def gauges(self) -> list[Gauge]:
        """Return gauges of the history, for `/metrics`; zero without a database."""
        age_s = 0.0 if self._since is None else max(time.time() - self._since, 0.0)
        return [
            ("dago_history_waiting", "Records that are not in the database yet.", {(): float(self._waiting)}),
            ("dago_history_oldest_seconds", "How long the oldest of them has waited.", {(): age_s}),
        ]
