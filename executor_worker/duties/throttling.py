"""Whether models are throttled, for all workers to see, and who may go on with what waited for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from executor_worker.duties.circumstances import Circumstances
from executor_worker.metrics import Gauge
from executor_worker.stream.throttle import survey

LOOK_S = 1.0
SOONEST_S = 0.02
MOST_READY = 16  # entries put up at a time
CALLING = "llm"


class Throttling:
    """
    Looks at the fleet's throttles; while there are none that is one small question a second.

    Args:
        put_up: Offers entries to idle workers.
    """

    def __init__(self, around: Circumstances, put_up: Callable[[Sequence[tuple[str, str]]], None]) -> None:
        self._around = around
        self._put_up = put_up

    def run(self) -> float:
        """Returns the seconds until the next look: sooner where a throttle opens before."""
        board = self._around.board
        calling = [self._around.consumer(row.slot) for row in board.rows() if row.pid and row.phase == CALLING]
        seen = survey(self._around.link, calling, most=MOST_READY)
        board.head.throttled = seen.throttles > 0
        if seen.ready:
            self._put_up(seen.ready)
        return LOOK_S if seen.opens_s is None else min(max(seen.opens_s, SOONEST_S), LOOK_S)

    def gauges(self) -> list[Gauge]:
        """What is known, for `/metrics`."""
        throttled = float(self._around.board.head.throttled)
        return [("dago_llm_throttled", "Whether calls of some model are held back in the fleet.", {(): throttled})]

    def heard(self) -> None:
        """Somebody was told to call less: from now on everybody asks first."""
        self._around.board.head.throttled = True
