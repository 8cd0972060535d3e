"""Reclaim: items that no worker has any more go to a free one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from executor_worker.broker.queue.consumers import pending_of, release_held
from executor_worker.broker.queue.reclaim_hints import write_notice
from executor_worker.broker.queue.releases import Releases, tell_released
from executor_worker.broker.queue.stale import Sweeper
from executor_worker.errors import StreamUnavailable
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry import logs
from supervisor.scoreboard.scoreboard import Row

ORPHAN_S = 0.1  # a dead slot gets its next worker sooner than that, unless it backs off
DRAIN_PATIENCE_S = 1.0
RENEWED_S = 3.0  # after Redis has come back every keeper has noticed that
UNTAKEN_S = 1.0
TURN_SHARE = 0.8  # of the time between two sweeps: a pool that is gone has no turn when the next one comes
SPARE = 1  # woken beyond what there is
MOST_STALE = 16  # entries put up at a time


class Reclaim:
    """
    Finds items that no worker has in hand and offers them to idle ones.

    Sweeps are the safety net; what others give back is heard of at once, and so is what a slot of
    ours leaves behind that gets no worker for a while.
    """

    def __init__(self, around: PoolContext, releases: Releases) -> None:
        self._around = around
        self._releases = releases
        self._every_s = max(min(around.lease_s / 3, 10.0), 0.5)
        turn_s = self._every_s * TURN_SHARE
        self._sweeper = Sweeper(
            around.link,
            lease_s=around.lease_s,
            streams=around.streams,
            groups=around.groups,
            sweeper=around.worker_id,
            turn_s=turn_s,
        )
        self._next_sweep = 0.0
        self._swept = False
        self._epoch = around.board.head.redis_epoch
        self._number = time.monotonic_ns()  # beyond whatever keepers before us have used
        self._up: list[tuple[str, str]] = []
        self._cleared: dict[int, int] = {}  # slot → the worker whose leavings were given back

    def sources(self) -> dict[int, Callable[[], object]]:
        """Return the descriptors to wait on, and what to call then."""
        fd = self._releases.fileno()
        return {} if fd is None else {fd: self._heed}

    def _heed(self) -> None:
        found = self._heard()
        if found:
            self.put_up(found)

    def run(self) -> None:
        found = [*self._heard(), *self._left_behind()]
        now = time.monotonic()
        self._spare_the_living(now)
        if now >= self._next_sweep:
            self._next_sweep = now + self._every_s
            # A keeper that hears nothing of what others find looks for itself; so does one that has just started: what
            # a pool gave back at the end of its drain was published before, and that pool may have the turn still.
            self._up = self._sweeper.stale(MOST_STALE, in_turns=self._swept and not self._releases.refused)
            self._swept = True
            tell_released(self._around.link, self._up)
            self.put_up(found)
        elif found:
            self.put_up(found)

    def _spare_the_living(self, now: float) -> None:
        """Let every pool renew first, after an outage, what its workers have had in hand meanwhile."""
        epoch = self._around.board.head.redis_epoch
        if epoch != self._epoch and self._epoch:
            self._next_sweep = now + self._every_s + RENEWED_S
        self._epoch = epoch

    def _heard(self) -> list[tuple[str, str]]:
        try:
            return self._releases.heard()
        except StreamUnavailable:
            return []

    def put_up(self, found: Sequence[tuple[str, str]]) -> None:
        """Offer entries that no worker has in hand to idle ones, beside what is offered already."""
        ours = [one for one in found if one[0] in self._around.streams]  # other pools serve other queues
        entries = list(dict.fromkeys([*ours, *self._up]))[:MOST_STALE]
        head = self._around.board.head
        if not entries:
            if head.noticed:
                head.post("", 0)
            return
        self._up = entries
        self._number += 1
        head.post(write_notice(entries), self._number)
        # An entry not taken within a moment, for the woken worker had just got something else, is put up again.
        self._next_sweep = min(self._next_sweep, time.monotonic() + UNTAKEN_S)
        # Others each time: one that is stopped without our knowing does not come.
        idle = [row for row in self._around.board.rows() if row.state == "idle" and not row.stopped]
        first = self._number % len(idle) if idle else 0
        for row in (idle[first:] + idle[:first])[: len(entries) + SPARE]:
            row.wake()

    def _left_behind(self) -> Iterable[tuple[str, str]]:
        """Yield the items that dead workers of this pool left, if their slots are not filled again at once."""
        # What a drain has killed is given back at its end, uncounted.
        patience_s = DRAIN_PATIENCE_S if self._around.board.head.mode == "draining" else ORPHAN_S
        late = time.monotonic_ns() - int(patience_s * 1e9)
        for row in self._around.board.rows():
            if row.state == "dead" and row.since_ns < late and self._cleared.get(row.slot) != row.generation:
                generation, text = row.generation, row.held
                yield from self._give_back(row)
                row.released = text
                self._cleared[row.slot] = generation

    def _give_back(self, row: Row) -> Iterable[tuple[str, str]]:
        """Delivery by delivery: a successor that has just taken one over keeps it."""
        self._around.answer_for_killed(row)
        generation = row.generation
        pending = pending_of(
            self._around.link, self._around.consumer(row.slot), streams=self._around.streams, groups=self._around.groups
        )
        if row.state != "dead" or row.generation != generation:
            return  # what we have read may be its successor's
        for held in pending:
            if release_held(self._around.link, held, counted=not row.cut_short, groups=self._around.groups):
                reason = "the drain's time was up" if row.cut_short else "its slot backs off"
                logs.info("item.released", slot=row.slot, entry=held.entry, reason=reason)
                yield held.stream, held.entry
