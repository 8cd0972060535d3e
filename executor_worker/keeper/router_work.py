"""Bring what others write for routers to the workers."""

from __future__ import annotations

import time

from executor_worker.broker.names import ROUTER_GROUP, ROUTER_STREAMS
from executor_worker.broker.queue.group import ensure_groups
from executor_worker.broker.queue.router_work import hand_on, there_is_any
from executor_worker.broker.queue.source import Groups
from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.errors import StreamRefused
from executor_worker.keeper.pool_context import PoolContext

GROUPS = Groups(dict.fromkeys(ROUTER_STREAMS, ROUTER_GROUP))
EVERY_S = 0.2  # while these streams are in use
UNUSED_S = 5.0  # between two looks whether they are
LEFT_LYING_S = 5.0
REFUSED_S = 300.0


class RouterWork:
    """Hands on what comes; while these streams are not in use that is one small question every few seconds."""

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._grouped_at = 0.0
        self._rescued_at = 0.0

    def run(self) -> float:
        """Returns the seconds until the next look."""
        try:
            return self._look()
        except StreamRefused:
            return REFUSED_S  # who may not use these streams does without

    def _look(self) -> float:
        around, head = self._around, self._around.board.head
        if head.paused or around.ending:
            return UNUSED_S / 5
        if DEFAULT not in around.queues:
            return REFUSED_S  # it goes to the plain streams: pools that serve those see to it
        if not there_is_any(around.link):
            self._grouped_at = 0.0
            return UNUSED_S
        now = time.monotonic()
        if now >= self._grouped_at + UNUSED_S:
            known = self._grouped_at > 0
            self._make_groups(known)
            self._grouped_at = now
        abandoned = now >= self._rescued_at + LEFT_LYING_S
        if abandoned:
            self._rescued_at = now
        hand_on(around.link, around.worker_id, delete=around.delete_settled, abandoned=abandoned)
        return EVERY_S

    def _make_groups(self, known: bool) -> None:
        around = self._around
        made = ensure_groups(
            around.link, delete_settled=around.delete_settled, known=known, streams=ROUTER_STREAMS, groups=GROUPS
        )
        for one in made:
            around.report_group(one)
