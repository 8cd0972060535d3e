"""Throttling: shows if models are throttled or keys refused, and lets go on what waited, for that or anything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from executor_worker.broker.fleet.cancelled import maybe_cancelled
from executor_worker.broker.fleet.throttle import PLACE_S
from executor_worker.broker.fleet.throttle_views import Refusal, Throttled, refusals, throttled, waiting_for
from executor_worker.broker.names import BREAKER_PREFIX
from executor_worker.broker.queue.gates import GATES
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
SAID = 3


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
        self._refused: list[Refusal] = []
        self._tools: list[Throttled] = []

    def run(self) -> float:
        """Returns the seconds until the next look: sooner if something opens before."""
        head, seen = self._around.board.head, self._survey()
        head.throttled, head.tools_unanswered = seen.throttles > 0, seen.breakers > 0
        ready = [*seen.ready, *(self._unwanted() if seen.awaited else ()), *self._look(seen)]
        if ready:
            self._put_up(ready)
        return LOOK_S if seen.opens_s is None else min(max(seen.opens_s, SOONEST_S), LOOK_S)

    def _look(self, seen: Survey) -> list[tuple[str, str]]:
        """Say what this pool can't do; return what waits for others' keys and can be run here."""
        found = throttled(self._around.link) if seen.throttles or seen.breakers else []
        refused = refusals(found)
        self._refused = [one for one in refused if one.throttle.startswith(self._around.accounts)]
        self._tools = [one for one in found if one.is_tool and one.account in self._around.tool_scopes]
        told = "; ".join(filter(None, [_refused_keys(self._refused), _held_back_tools(self._tools)]))
        if told != self._around.board.head.held_back:
            self._around.board.head.held_back = told
        return self._takeable(refused)

    def _survey(self) -> Survey:
        around = self._around
        calling = [around.consumer(row.slot) for row in around.board.rows() if row.pid and row.phase == CALLING]
        gates = (*GATES, *around.limits.parts())
        name, streams = around.worker_id, around.streams
        return survey(around.link, name, streams, calling, place_s=PLACE_S, most=MOST_READY, gates=gates)

    def _unwanted(self) -> list[tuple[str, str]]:
        """Find parked items whose time is up or whose graph was cancelled: they are answered, not run."""
        link, now = self._around.link, time.time()
        self._cursor, waiting = parked(link, self._cursor, page=PAGE)
        documents = maybe_cancelled(link, {one.state_key: b"" for one in waiting if one.state_key})
        over = {key for key, document in documents.items() if document is not None and is_cancelled(document)}
        found = [(one.stream, one.entry) for one in waiting if one.state_key in over or 0 < one.ends_at <= now]
        let_go(link, found)
        return found

    def _takeable(self, found: Sequence[Refusal]) -> list[tuple[str, str]]:
        """Items that wait for keys that are refused, and can be run here by a key of our own."""
        ours = self._refused
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
        refused = float(bool(self._refused))
        tools = float(len(self._tools))
        return [
            ("dago_llm_throttled", "Whether calls of some model are held back in the fleet.", {(): throttled}),
            ("dago_llm_key_refused", "Whether a provider refuses this pool's key.", {(): refused}),
            ("dago_tool_held_back", "Tools and servers of tools held back, as they do not answer.", {(): tools}),
        ]

    def opened(self) -> None:
        """Something may let items go: look now instead of in a second."""
        self._put_up(self._survey().ready)

    def heard(self, key: str) -> None:
        """Note that a worker was throttled, or a tool did not answer: all workers must now ask before calling."""
        head = self._around.board.head
        if key.startswith(BREAKER_PREFIX):
            head.tools_unanswered = True
        else:
            head.throttled = True


def _held_back_tools(tools: Sequence[Throttled]) -> str:
    """Say it in one sentence; empty if there is nothing to say."""
    if not tools:
        return ""
    since, named = _told([one.name for one in tools], tools)
    return f"held back since {since}, as calls bring no answer: {named}: one call a minute tries"


def _refused_keys(refused: Sequence[Refusal]) -> str:
    """Say it in one sentence; empty if there is nothing to say."""
    if not refused:
        return ""
    since, models = _told([one.model for one in refused], refused)
    return f"the key is refused since {since} for {models}: correct it or fill its account, then `throttle clear`"


def _told(names: Sequence[str], held_back: Sequence[Throttled | Refusal]) -> tuple[str, str]:
    """Return since when they are held back, and the first of them with reason and number of waiting items."""
    first = list(zip(names, held_back, strict=True))[:SAID]
    named = "; ".join(f"{name} ({one.why}, {one.waiting} items wait)" for name, one in first)
    more = f" and {len(names) - SAID} more" if len(names) > SAID else ""
    return rfc3339(min(one.since for one in held_back)), named + more
