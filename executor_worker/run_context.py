"""
The context of a run, which limits and shows it: handed down from the worker to nodes, providers and tools.

The plain `RunContext` limits by time and shows nothing: what `once` and most tests use.
The worker's own subclass is asked only if its row speaks against going on: what each step needs, nodes ask and write in
that row, and count, themselves. So a run that nothing stands in the way of comes back to its worker once, at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from executor_worker.errors import NodeError, NodeTimeout, ToolTimeout, ToolUnavailable
from executor_worker.outcome import Usage
from executor_worker.telemetry.tracing import NO_TRACING, Tracing

BETWEEN_STEPS = "running"  # the phase


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


class RunRow(Protocol):
    """The scoreboard's row of the worker that runs it, as nodes ask it and write to it; see `CurrentItem`."""

    def goes_on(self, run: int, now_ns: int) -> bool: ...
    def may_begin(self, run: int, now_ns: int) -> bool: ...
    def show(self, mode: str, step: int, steps: int, ends_ns: int) -> None: ...
    def enter(self, phase: str, deadline_ns: int, on_deadline: str = ...) -> None: ...


class Counting(Protocol):
    """Counters of what has happened; see `Recorder`."""

    def count(self, name: str, *labels: str) -> None: ...
    def observe(self, name: str, value: float, *labels: str) -> None: ...


class Unanswered(Protocol):
    """
    Tells, at no cost, whether calls of tools may be held back: if neither of these is true none is.

    Attributes:
        unsure: A call of this worker's brought no answer, and the keeper may not have heard of that yet.
        active: Tells whether the keeper knows of any without an answer.
    """

    unsure: bool

    @property
    def active(self) -> Callable[[], bool]: ...


class RunMeans(Protocol):
    """
    The means that all runs of a worker share: with them a node does what every step needs, without its worker.

    Attributes:
        row: Asked before each step, and shows it.
        recorder: Counts calls.
        breakers: Asked before and after a tool's call.
    """

    @property
    def row(self) -> RunRow: ...
    @property
    def recorder(self) -> Counting: ...
    @property
    def breakers(self) -> Unanswered: ...


class NoPool:
    """No pool around a run: nothing is shown or counted, and its context is asked about everything."""

    unsure = True

    @property
    def row(self) -> NoPool:
        return self

    recorder = breakers = row  # it stands for all of them

    def active(self) -> bool:
        return True

    def goes_on(self, run: int, now_ns: int) -> bool:
        return False

    def may_begin(self, run: int, now_ns: int) -> bool:
        return False

    def show(self, mode: str, step: int, steps: int, ends_ns: int) -> None:
        return

    def enter(self, phase: str, deadline_ns: int, on_deadline: str = "node_timeout") -> None:
        return

    def count(self, name: str, *labels: str) -> None:
        return

    def observe(self, name: str, value: float, *labels: str) -> None:
        return


NO_POOL = NoPool()


Untold: TypeAlias = tuple[str, str, bool, float]
"""A tool's call that was answered, whose watchers are told with the run's end: its id, tool, success and seconds."""


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
        means: Shared by all runs of its worker.
        run: Its name on the scoreboard.
        mode: That the node is run in, once that is known.
        untold: Is told with the run's end, whatever that is.
    """

    deadline: float
    key: str = "once"
    clock: Callable[[], float] = time.monotonic
    kept_back: float = field(default=0.0, init=False)
    tries: int = field(default=0, init=False)
    spent: int = field(default=0, init=False)
    tracing: Tracing = field(default=NO_TRACING, init=False)
    means: RunMeans = field(default=NO_POOL, init=False)
    run: int = field(default=0, init=False)
    mode: str = field(default="", init=False)
    untold: Untold | None = field(default=None, init=False)

    def left(self) -> float:
        """Seconds until the item's deadline, without those kept back; negative when it has passed."""
        return self.deadline - self.kept_back - self.clock()

    def check(self) -> None:
        """
        Call between the events of a stream, and whenever the row does not say that the run goes on.

        Raises:
            NodeTimeout: The item's deadline has passed.
            Cancelled: Its graph was cancelled.
            Abandoned: The lease is gone or the item must be given back.
        """
        if self.left() <= 0:
            raise NodeTimeout("the node's time is up")

    def before_step(self) -> None:
        """
        Call before each step that costs something, unless the row says that the run may begin one.

        Raises:
            NodeTimeout, Cancelled, Abandoned: See `check`.
        """
        self.check()

    def between_steps(self) -> None:
        """Show that the last step has ended: from now on only the node's own limit holds."""
        self.means.row.enter(BETWEEN_STEPS, int(self.deadline * 1e9))

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
        Call before a tool is called, unless no tool is held back; this one may be, as it has brought no answer lately
        to any worker.

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
        """Note that a tool has answered, whatever it said; unless no tool is held back."""

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
