"""Limits of the fleet: how far they are used up."""

from __future__ import annotations

from executor_worker.broker.fleet.limits import LimitView, look_at_limits
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry.metrics import Gauge

LOOK_S = 1.0
UNUSED_S = 60.0


class Limits:
    """Looks at the limits this pool keeps to; a pool without any asks nothing."""

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self.views: list[LimitView] = []

    def run(self) -> float:
        """Returns the seconds until the next look."""
        around = self._around
        if not around.limits.most:
            return UNUSED_S
        self.views = look_at_limits(around.link, around.limits.most, lease_s=around.lease_s)
        return LOOK_S

    def gauges(self) -> list[Gauge]:
        """Return gauges of limits, for `/metrics`."""
        named = [((("limit", view.name),), view) for view in self.views]
        return [
            ("dago_limit_used", "Places taken of a limit.", {label: float(view.used) for label, view in named}),
            ("dago_limit_max", "Places there are of a limit.", {label: float(view.most) for label, view in named}),
            (
                "dago_limit_waiting",
                "Items that wait for a place of a limit.",
                {label: float(view.waiting) for label, view in named},
            ),
        ]
