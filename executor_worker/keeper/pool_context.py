"""The context that all duties share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from executor_worker.broker import Held, Link, Made
from executor_worker.broker.fleet.identity import Identity
from executor_worker.broker.names import TAKEN_STREAMS
from executor_worker.broker.queue.source import OURS, UNLIMITED, Groups, PlaceLimits
from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from supervisor.scoreboard.row import Death
from supervisor.scoreboard.scoreboard import Row, Scoreboard


@dataclass(frozen=True, slots=True)
class PoolContext:
    """
    The pool as its keeper's duties see it; seconds.

    Attributes:
        health_port: Where this pool answers; None: nowhere.
        beside: A predecessor of the same name still runs: what it has is its own.
        settle_condemned: Settles an item as failed with that code, for a worker that was killed for it and died so.
        interrupt: Interrupts the run of the one worker there is; None: the supervisor sees to that.
        streams: All that its workers read, whatever the kind of work.
        accounts: What the names of the throttles of this pool's own keys begin with.
        tool_scopes: Of the tools of this pool, as breakers tell them apart.
        tools: Gives the names of the tools that this pool has, as they are known now.
        queues: Those of them that are queues, by name, in order of preference.
        groups: By which each is read.
        history: There is a database that records are written to.
        tracing: For spans of runs that a duty ends.
        limits: How many items may be run at once on all hosts.
    """

    board: Scoreboard
    link: Link
    identity: Identity
    version: str
    lease_s: float
    delete_settled: bool
    results_maxlen: int
    health_port: int | None
    beside: bool
    report_group: Callable[[Made], None]
    settle_condemned: Callable[[Held, str, Death], None]
    interrupt: Callable[[], None] | None = None
    streams: Sequence[str] = TAKEN_STREAMS
    accounts: tuple[str, ...] = ()
    tool_scopes: frozenset[str] = frozenset()
    queues: Sequence[str] = (DEFAULT,)
    tools: Callable[[], Iterable[str]] = tuple
    groups: Groups = OURS
    limits: PlaceLimits = UNLIMITED
    history: bool = False
    tracing: Tracing = NO_TRACING

    @property
    def worker_id(self) -> str:
        return self.identity.worker_id

    @property
    def ending(self) -> bool:
        """Tell whether the pool ends; else only its keeper does, and the next one goes on: at a reload."""
        return self.board.head.mode in ("draining", "stopped")

    def answer_for_killed(self, row: Row) -> None:
        """Say for a dead worker that was ended for its item's sake what the item comes to: it gets no successor."""
        if row.failure_code and row.killed_for == row.held:
            with suppress(ValueError):
                self.settle_condemned(Held.parse(row.held), row.failure_code, row.death)

    def consumer(self, slot: int) -> str:
        """The name under which *slot*'s worker reads."""
        return f"{self.worker_id}.{slot}"
