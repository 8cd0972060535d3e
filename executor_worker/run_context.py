"""
The context of a run, which limits and shows it: handed down from the worker to nodes, providers and tools.

The plain `RunContext` limits by time and shows nothing: what `once` and most tests use.
The worker's own subclass writes to the scoreboard and counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from executor_worker.errors import NodeError, NodeTimeout, ToolTimeout, ToolUnavailable
from executor_worker.outcome import Usage
from executor_worker.telemetry.tracing import NO_TRACING, Tracing


@dataclass(frozen=True, slots=True)
class Circuit:
    """
    Tools held back as one if its calls bring no answer: a tool, or a server with all its tools.

    Attributes:
        kind: `tool`, `mcp` or `rest`.
        scope: Tells it from others of that name on the same Redis; empty: the pool's own.
        fails: Its calls fail while it is held back, instead of waiting.
    """

    kind: str
    name: str
    scope: str = ""
    fails: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(eq=False)
class RunContext:
    """
    Args:
        deadline: The item's hard limit, in seconds on *clock*.
        key: Names this run of this item; prefix of the idempotency keys of its calls.
        clock: Monotonic seconds.

    Attributes:
        kept_back: Seconds before the deadline that are kept for bringing the run to an end; 0: none.
        tries: How often the model call that is next has failed by itself, in runs that gave the item back as well.
        spent: Tries of the models that are asked before the one that is next: they have had theirs.
        tracing: Takes up each step as a span.
    """

    deadline: float
    key: str = "once"
    clock: Callable[[], float] = time.monotonic
    kept_back: float = field(default=0.0, init=False)
    tries: int = field(default=0, init=False)
    spent: int = field(default=0, init=False)
    tracing: Tracing = field(default=NO_TRACING, init=False)

    def left(self) -> float:
        """Seconds until the item's deadline, without those kept back; negative when it has passed."""
        return self.deadline - self.kept_back - self.clock()

    def check(self) -> None:
        """
        Call before each step that costs something, and between the events of a stream.

        Raises:
            NodeTimeout: The item's deadline has passed.
            Cancelled: Its graph was cancelled.
            Abandoned: The lease is gone or the item must be given back.
        """
        if self.left() <= 0:
            raise NodeTimeout("the node's time is up")

    def may_park(self, seconds: float, throttle_key: str) -> None:
        """
        Call before waiting for a throttled model: a worker that can rather gives the item back until there is room.

        Args:
            throttle_key: The throttle's name; empty: only this process knows of it.

        Raises:
            Parked: It is given back.
        """

    def lack(self, tools: Sequence[str]) -> None:
        """
        Call if one of *tools*, all that the node names, is not here: another process may have them.

        Raises:
            Parked: The item waits for that.
        """

    def admit_tool(self, circuits: Sequence[Circuit]) -> None:
        """
        Call before a tool is called: it may be held back, as it has brought no answer lately to any worker.

        Raises:
            Parked: The item waits until a call is worth trying.
            ToolUnavailable: It is held back, and asks to fail then.
        """

    def tool_unanswered(self, circuits: Sequence[Circuit], error: ToolUnavailable | ToolTimeout) -> None:
        """
        Note that a tool has brought no answer.

        Raises:
            Parked: It is held back, and the call was not sent: the item waits.
        """

    def tool_answered(self, circuits: Sequence[Circuit]) -> None:
        """Note that a tool has answered, whatever it said."""

    def phase(self, name: str, seconds: float | None = None, failure_code: str = "node_timeout") -> None:
        """
        Say what is being done now, e.g. `llm`, `tool:search`.

        Args:
            seconds: The worker may be killed when it is still in this phase after so long; None: only the item's
                limit holds.
            failure_code: Error code the item then fails with.

        Raises:
            Cancelled: Its graph was cancelled; at the beginning of a step only.
        """

    def show(self, mode: str, step: int = 0, steps: int = 0) -> None:
        """Say in which mode the node is run, and for an agent which of how many model calls is next."""

    def begin_turn(self, turn: int) -> None:
        """Say that the model call of that number, from 1, is about to be made."""

    def text_delta(self, text: str) -> None:
        """Show *text*, which a model has just said."""

    def call_delta(self, position: int, name: str, arguments: str) -> None:
        """Show that a model is asking for a tool; *arguments* is what came of their text just now."""

    def void_deltas(self) -> None:
        """Note that what a model has said is void: its call has failed, and is perhaps made again."""

    def model_called(self, model: str, seconds: float, usage: Usage | None) -> None:
        """Count a model call that has ended; *usage* is None if it failed."""

    def tool_failed(self, name: str, error: NodeError) -> None:
        """Show the author of the tool *name* what happened in it."""

    def tool_called(self, name: str, seconds: float, ok: bool, call: str = "") -> None:
        """
        Count a tool call that has ended.

        Args:
            call: Names it to the run's watchers, if they are to be shown now that it was answered; "" if not.
        """
