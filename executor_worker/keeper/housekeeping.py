"""The streams and the workers, measured and kept in order."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from executor_worker.broker import ensure_groups
from executor_worker.broker.connection.server import connections
from executor_worker.broker.names import PROGRESS_STREAM, RESULT_STREAMS, ROLE_GROUP, UPDATES_STREAM
from executor_worker.broker.queue.backlog import Backlog, backlog
from executor_worker.broker.queue.consumers import prune_consumers, prune_uncounted
from executor_worker.broker.queue.trim import trim
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry.metrics import Gauge

PRUNE_S = 600.0
CONNECTIONS_S = 30.0  # between two looks at how many connections Redis has
MEMORY_S, MEMORY_LATEST_S = 1.0, 3.0  # between measuring one worker and the next
MEMORY_SHARE = 0.0005  # of a core
FIRST, FIRST_S = 16, 0.05  # so many are measured right after a start, so soon one after the other
QUIET_S = 5.0  # between two looks at streams in which nothing waits


class Housekeeping:
    """
    The streams themselves: groups that were lost, results that pile up, how much there is to do.

    Args:
        on_lost_group: Called if a group had to be made anew.
    """

    def __init__(self, around: PoolContext, on_lost_group: Callable[[], None] = lambda: None) -> None:
        self._around = around
        self._on_lost_group = on_lost_group
        self._known = False
        self._next_prune = time.monotonic() + PRUNE_S
        self._next_count = 0.0
        self._connections: tuple[int, int] | None = None
        self.backlogs: list[Backlog] = []

    def run(self) -> None:
        around, head = self._around, self._around.board.head
        for made in ensure_groups(
            around.link,
            delete_settled=around.delete_settled,
            known=self._known or head.knows_groups(around.streams),
            streams=around.streams,
            groups=around.groups,
        ):
            around.report_group(made)
            if made.lost:
                self._on_lost_group()
        if not self._known:
            self._known = True
            head.note_groups(around.streams)
        trim(around.link, around.results_maxlen, streams=self._results())
        if time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + CONNECTIONS_S
            self._connections = connections(around.link)
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + PRUNE_S
            names = {around.consumer(row.slot) for row in around.board.rows()}
            prune_consumers(around.link, keep=names, streams=around.streams, groups=around.groups)
            prune_uncounted(around.link, streams=around.streams, groups=around.groups)

    def _results(self) -> tuple[str, ...]:
        """Name the streams that only grow; only pools that serve roles may touch those of hubs."""
        serves_roles = ROLE_GROUP in self._around.groups.named.values()
        return (*RESULT_STREAMS, PROGRESS_STREAM, *((UPDATES_STREAM,) if serves_roles else ()))

    def measured(self) -> list[Backlog]:
        """Look how much there is to do, and return it."""
        self.measure()
        return self.backlogs

    def measure(self) -> float | None:
        """Look how much there is to do; returns the seconds until the next look if there is nothing."""
        around = self._around
        self.backlogs = backlog(
            around.link, delete_settled=around.delete_settled, streams=around.streams, groups=around.groups
        )
        return None if any(one.depth for one in self.backlogs) else QUIET_S

    def gauges(self) -> list[Gauge]:
        """Return gauges of the streams, for `/metrics`."""
        now = self.backlogs
        return [
            ("dago_queue_depth", "Items not settled yet.", {(("queue", one.stream),): one.depth for one in now}),
            ("dago_dead_letters", "Items in dead-letter streams.", {(("queue", one.stream),): one.dead for one in now}),
            ("dago_items_pending", "Items in hand: taken, not settled yet.", {(): sum(one.pending for one in now)}),
            (
                "dago_items_parked",
                "Items that wait for a model, a tool, a place or a time; nobody holds them.",
                {(): sum(one.parked for one in now)},
            ),
            (
                "dago_oldest_item_age_seconds",
                "Age of the oldest item not settled yet.",
                {(): max((one.oldest_age_s for one in now), default=0.0)},
            ),
            ("dago_redis_connections", "Connections that Redis has, of whatever client.", self._connections_of(0)),
            ("dago_redis_connections_max", "Connections that Redis takes at most.", self._connections_of(1)),
        ]

    def _connections_of(self, at: int) -> dict[tuple[tuple[str, str], ...], float]:
        return {(): float(self._connections[at])} if self._connections is not None else {}


class Memory:
    """
    Measures the workers, one at a time and less often the longer it takes: with many pages a few milliseconds.

    New ones come first, so that they are not unknown for as long as a round takes; those of a pool just started at
    once, but not hundreds of them.
    """

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._measured: list[int] = []  # pids, the one whose turn is next first

    def run(self) -> float:
        """Returns when it is due again."""
        began = time.monotonic()
        rows = {row.pid: row for row in self._around.board.rows() if row.pid}
        known = [pid for pid in self._measured if pid in rows]
        new = sorted(rows.keys() - set(known))
        for pid in (new or known)[:1]:
            rows[pid].pss_bytes = _pss_bytes(pid)
            self._measured = [*(one for one in known if one != pid), pid]
        if len(new) > 1 and len(known) < FIRST:
            return FIRST_S
        return min(max(MEMORY_S, (time.monotonic() - began) / MEMORY_SHARE), MEMORY_LATEST_S)


def _pss_bytes(pid: int) -> int:
    """A worker's own memory and its share of what it has in common with others; 0 if it is gone."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except (psutil.Error, OSError):
        return 0
