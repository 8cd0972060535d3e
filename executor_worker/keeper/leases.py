"""Lease renewal: what workers have in hand stays theirs."""

from __future__ import annotations

import time

from executor_worker.broker import Held
from executor_worker.broker.queue.leases import renew
from executor_worker.keeper.pool_context import PoolContext
from supervisor.scoreboard.scoreboard import Row


class Leases:
    """Renews what workers report in hand; a worker whose item went to another is told."""

    def __init__(self, around: PoolContext) -> None:
        self._around = around

    def run(self) -> None:
        runs = {row: row.run for row in self._around.board.rows()}
        held = {row: one for row in runs if (one := _held(row)) is not None}
        if not held:
            return
        asked_at = time.monotonic()
        lost = set(renew(self._around.link, list(held.values()), groups=self._around.groups))
        until = int((asked_at + self._around.lease_s) * 1e9)
        for row, one in held.items():
            if _held(row) != one:
                continue  # it has gone on to another item, whose lease is another
            if one not in lost:
                row.lease_until_ns = until
            else:
                row.lost = True
                run = runs[row]
                if run and row.run == run:
                    row.lost_run = run
                    self._around.board.event_fd.ring()
                row.wake()


def _held(row: Row) -> Held | None:
    try:
        return Held.parse(row.held) if row.pid and row.held else None
    except ValueError:
        return None
