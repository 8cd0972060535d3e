"""Registration: this pool's workers in Redis, written while they live and removed at shutdown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from executor_worker.broker.fleet.registry import Registration, register, unregister
from executor_worker.broker.queue.consumers import delete_consumer, delete_left, release_consumer
from executor_worker.envelopes.events import rfc3339
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.keeper.rates import Rates
from supervisor.scoreboard.scoreboard import Row
from supervisor.scoreboard.view import registry_view

ALL_S = 5.0  # between two times that all workers are written


class RegistrationDuty:
    """
    Registers this pool's workers in Redis, with what each is doing.

    Args:
        recent: What each slot did lately.
    """

    def __init__(self, around: PoolContext, rates: Rates) -> None:
        self._around = around
        self._rates = rates
        self._shown: dict[int, tuple[Any, ...]] = {}
        self._next_all = 0.0

    def run(self) -> None:
        around, rows = self._around, {row.slot: row for row in self._around.board.rows()}
        now = time.monotonic()
        everybody = now >= self._next_all
        facts = {slot: _status(row) for slot, row in rows.items()}
        changed = [slot for slot in rows if everybody or self._shown.get(slot) != facts[slot]]
        lately = self._rates.of_slots() if changed else {}
        pool = self._pool() if changed else {}
        for slot in changed:
            rows[slot].listed = True
        register(around.link, [self._registration(rows[slot], lately.get(slot, {}), pool) for slot in changed])
        self._strike([row for row in around.board.listed() if not row.placed])
        self._shown = facts
        if everybody:
            self._next_all = now + ALL_S

    def close(self) -> None:
        """Leave: nothing of ours stays in the registry, nor in the group where nothing is pending."""
        around = self._around
        if around.ending:
            self._strike(around.board.listed())
            delete_left(around.link, f"{around.worker_id}.", streams=around.streams, groups=around.groups)

    def _strike(self, rows: list[Row]) -> None:
        consumers = [self._around.consumer(row.slot) for row in rows]
        unregister(self._around.link, consumers)
        for consumer in consumers:
            delete_consumer(self._around.link, consumer, streams=self._around.streams, groups=self._around.groups)
        for row in rows:
            row.listed = False

    def _registration(self, row: Row, lately: Mapping[str, Any], pool: Mapping[str, Any]) -> Registration:
        status, item = _status(row)
        now = time.time()

        def time_of(monotonic_ns: int) -> str | None:
            return rfc3339(now - (time.monotonic_ns() - monotonic_ns) / 1e9) if monotonic_ns else None

        return Registration(
            id=self._around.consumer(row.slot),
            status=status,
            registered_at=now - (time.monotonic_ns() - row.started_ns) / 1e9,
            last_heartbeat=now,
            current_task=item or None,
            pending_tasks=1 if item else 0,
            version=self._around.version,
            metadata={
                "supervisor": self._around.worker_id,
                "host": self._around.identity.host,
                "health_port": self._around.health_port,
                **registry_view(row, time_of),
                "last_minute": lately,
                "pool": pool,
            },
        )

    def _pool(self) -> dict[str, Any]:
        head = self._around.board.head
        return {
            "mode": head.mode,
            "paused": head.paused,
            "queues": list(self._around.queues),
            "restarts": self._rates.restarts(),
        }


class HandOver:
    """At the end: what dead workers held goes to others at once, our name is free again."""

    def __init__(self, around: PoolContext) -> None:
        self._around = around

    def close(self) -> None:
        around = self._around
        if not around.ending:
            return
        for row in around.board.rows():
            if not row.pid and row.held and row.released != row.held:
                self._hand_on(row)
                row.released = row.held
        if not around.board.head.superseded:
            around.identity.leave(around.link)

    def _hand_on(self, row: Row) -> None:
        self._around.answer_for_killed(row)
        # A drain is not held against the item.
        around = self._around
        release_consumer(
            around.link, around.consumer(row.slot), counted=False, streams=around.streams, groups=around.groups
        )


def _status(row: Row) -> tuple[str, str]:
    """Return the worker's status as the registry says it, and the item in hand."""
    if row.state == "dead":
        return "stopped", ""
    overdue = 0 < row.item_deadline_ns < time.monotonic_ns()
    if row.state == "starting" or row.stopped or overdue:
        return "unhealthy", row.item
    return ("busy", row.item) if row.held else ("idle", "")
