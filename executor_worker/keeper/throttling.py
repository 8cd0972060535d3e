"""Throttling: shows if models are throttled or keys refused, and lets go on what waited, for that or anything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from executor_worker.broker.fleet.cancelled import maybe_cancelled
from executor_worker.broker.fleet.throttle import PLACE_S
from executor_worker.broker.fleet.throttles import Refusal, refusals, waiting_for
from executor_worker.broker.queue.waits import Survey, let_go, parked, survey
from executor_worker.graph.state import is_cancelled
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.keeper.pool_health import rfc3339
from executor_worker.telemetry.metrics import Gauge

LOOK_S = 1.0
SOONEST_S = 0.02
MOST_READY = 16  # entries put up at a time
PAGE = 64  # waiting entries looked at in a turn
CALLING = "llm"
SAID_MODELS = 3


class Throttling:
    """
    Looks at all that items wait for; while there is nothing that is one small question a second.

    Args:
        put_up: Offers entries to idle workers.
    """

    def __init__(self, around: PoolContext, put_up: Callable[[Sequence[tuple[str, str]]], None]) -> None:
        self._around = around
        self._put_up = put_up
        self._cursor = b"0"

    def run(self) -> float:
        """Returns the seconds until the next look: sooner if something opens before."""
        board, seen = self._around.board, self._survey()
        board.head.throttled = seen.throttles > 0
        ready = [*seen.ready, *(self._unwanted() if seen.awaited else ()), *(self._refused() if seen.throttles else ())]
        if not seen.throttles and board.head.held_back:
            board.head.held_back = ""
        if ready:
            self._put_up(ready)
        return LOOK_S if seen.opens_s is None else min(max(seen.opens_s, SOONEST_S), LOOK_S)

    def _survey(self) -> Survey:
        around = self._around
        calling = [around.consumer(row.slot) for row in around.board.rows() if row.pid and row.phase == CALLING]
        return survey(around.link, around.worker_id, around.streams, calling, place_s=PLACE_S, most=MOST_READY)

    def _unwanted(self) -> list[tuple[str, str]]:
        """Find parked items whose time is up or whose graph was cancelled: they are answered, not run."""
        link, now = self._around.link, time.time()
        self._cursor, waiting = parked(link, self._cursor, page=PAGE)
        documents = maybe_cancelled(link, {one.state_key: b"" for one in waiting if one.state_key})
        over = {key for key, document in documents.items() if document is not None and is_cancelled(document)}
        found = [(one.stream, one.entry) for one in waiting if one.state_key in over or 0 < one.ends_at <= now]
        let_go(link, found)
        return found

    def _refused(self) -> list[tuple[str, str]]:
        """Say which of our keys are refused; return what waits for others' and can be run here, by a key of our own."""
        found = refusals(self._around.link)
        ours = [one for one in found if one.throttle.startswith(self._around.accounts)]
        self._around.board.head.held_back = _told(ours)
        idle = sum(row.state == "idle" and not row.stopped for row in self._around.board.rows())
        if ours or not found or not self._around.accounts or not idle:
            return []
        others = [pair for one in found for pair in waiting_for(self._around.link, one.throttle, idle)]
        others = [pair for pair in others if pair[0] in self._around.streams][:idle]
        let_go(self._around.link, others)
        return others

    def gauges(self) -> list[Gauge]:
        """Return gauges of throttles and refused keys, for `/metrics`."""
        throttled = float(self._around.board.head.throttled)
        refused = float(bool(self._around.board.head.held_back))
        return [
            ("dago_llm_throttled", "Whether calls of some model are held back in the fleet.", {(): throttled}),
            ("dago_llm_key_refused", "Whether a provider refuses this pool's key.", {(): refused}),
        ]

    def opened(self) -> None:
        """Something may let items go: look now instead of in a second."""
        self._put_up(self._survey().ready)

    def heard(self) -> None:
        """Note that a worker was throttled: all workers must now ask before calling."""
        self._around.board.head.throttled = True


def _told(refused: Sequence[Refusal]) -> str:
    """Say it in one sentence; empty if there is nothing to say."""
    if not refused:
        return ""
    models = "; ".join(f"{one.model} ({one.why}, {one.waiting} items wait)" for one in refused[:SAID_MODELS])
    more = f" and {len(refused) - SAID_MODELS} more" if len(refused) > SAID_MODELS else ""
    since = rfc3339(min(one.since for one in refused))
    return f"the key is refused since {since} for {models}{more}: correct it or fill its account, then `throttle clear`"
