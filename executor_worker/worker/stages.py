"""
Stages of an item on its way through a worker; each value is made in one room.

    Delivery    what came (broker), as a Claim: with the verbs of its holder
    Work        what the item says, as its kind has read it (intake)
    Run         it is to be run (intake)
    Conclusion  what it has come to: answered at once (intake), or by its run (run)
    Commit      what is written of that (the kind's draft, for settle)
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from executor_worker.broker import JOURNAL_PREFIX, Claim, Held
from executor_worker.errors import NodeError
from executor_worker.nodes.executor import Task
from executor_worker.nodes.spec import mode_of
from executor_worker.outcome import Mode, Outcome
from executor_worker.telemetry.tracing import ItemFacts


@dataclass(slots=True)
class Run:
    """
    The item is to be run.

    Attributes:
        seconds: For how long it may.
    """

    task: Task
    seconds: float


@dataclass(slots=True, unsafe_hash=True)  # so that one may stand as a default
class Conclusion:
    """
    The conclusion that an item has come to.

    Attributes:
        outcome: None if there is nothing to tell: it is acknowledged, or its commit does what there is to do.
        dead_reason: Set if the item goes to the dead-letter stream as well.
        journal: The key under which its run was written down; None if it was not.
    """

    outcome: Outcome | None
    dead_reason: str | None = None
    journal: str | None = None


Decision: TypeAlias = Run | Conclusion
NOTHING = Conclusion(None)


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class Stamp:
    """
    The stamp of a commit: the worker that draws it up, and the time.

    Attributes:
        worker_id: The consumer's name, for `data.worker_id`.
        now: Seconds since the epoch.
        took_s: Since the item was taken.
        facts: What both result and state tell of the run.
    """

    worker_id: str
    now: float
    took_s: float
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """
    The work that an item asks for; its kind adds what only it needs.

    Attributes:
        held: Its delivery.
        attempt: The number of this run of the item, from 1, as events tell it.
        taken_at: When it was taken, in seconds since the epoch.
        began: The same by the clock that never jumps.
        config: The node's, from the item or from the graph; None if neither has one.
        work_id: Names the item over all its deliveries; None if it has no name but its entry.
        deadline: Seconds since the epoch.
        traceparent, tracestate: As they came with it.
        watched: The key that tells the keeper whether it is still wanted; "" if none does.
        decision: Whether it runs; the first reason not to is its answer.
        is_upkeep: It is no node, but keeps a graph's run going: it is not counted, and no event tells of it.
        gap_s: From the end of the node before it in its run to its start; None if that says nothing.
    """

    claim: Claim
    held: Held
    attempt: int
    taken_at: float
    began: float
    graph_id: str = ""
    node_id: str = ""
    node_type: str = ""
    execution_id: str = ""
    config: dict[str, Any] | None = None
    work_id: str | None = None
    deadline: float | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    watched: str = ""
    decision: Decision = NOTHING
    is_upkeep: bool = False
    gap_s: float | None = None

    @property
    def queued_at(self) -> float | None:
        """When it was queued, if it waited as part of a run; in seconds since the epoch."""
        return None

    def last_attempt(self, conclusion: Conclusion) -> int:
        """The last run there was: an item that is poisoned is not run this time."""
        return self.attempt - (conclusion.dead_reason == "poisoned")

    @property
    def names(self) -> tuple[str, str, str]:
        """Graph, execution and node, as events tell them."""
        return self.graph_id, self.execution_id or self.graph_id, self.node_id

    @property
    def mode(self) -> Mode | None:
        """The mode its config asks for; for answers given without running it."""
        if self.config is not None:
            with suppress(NodeError):
                return mode_of(self.config)
        return None

    @property
    def run_key(self) -> str:
        """Names the item over all its runs: its own name, else its place in the stream."""
        return self.work_id or f"{self.held.stream}/{self.held.entry}"

    @property
    def journal_key(self) -> str:
        """The key under which the run's journal is written."""
        return JOURNAL_PREFIX + self.run_key

    @property
    def facts(self) -> ItemFacts:
        """The facts that the item's span begins with."""
        held = self.held
        return ItemFacts(
            stream=held.stream,
            entry=held.entry,
            consumer=held.consumer,
            count=held.count,
            attempt=held.attempt,
            taken_at=self.taken_at,
            size=len(self.claim.delivery.data or b""),
            graph_id=self.graph_id,
            node_id=self.node_id,
            execution_id=self.execution_id,
            traceparent=self.traceparent,
            tracestate=self.tracestate,
            queued_at=self.queued_at,
        )
