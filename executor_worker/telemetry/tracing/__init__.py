"""
Spans of what a worker does, one inside the other; the worker knows nothing of where they go.

    request ── run ─┬─ wait            in its queue
                    └─ item ─┬─ model, tool              llm and tool nodes
                             └─ agent ── model, tool     agents

Here none are made, and each costs a call that returns. `otlp` makes them and sends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from executor_worker.outcome import Mode, Usage


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """
    The facts of an item that are known when its span begins.

    Attributes:
        consumer: The worker's name.
        count: Redis' own delivery count.
        attempt: From 1; drains do not raise it.
        taken_at: Seconds since the epoch.
        traceparent, tracestate: As they came with it; None if it brought none.
        queued_at: When it was, if it is a run's and was not taken before.
    """

    stream: str
    entry: str
    consumer: str
    count: int
    attempt: int
    taken_at: float
    size: int
    graph_id: str
    node_id: str
    execution_id: str
    traceparent: str | None = None
    tracestate: str | None = None
    queued_at: float | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """
    The facts of a run that has ended.

    Attributes:
        traceparent: Names the run's own span: its nodes' are within it.
        parent: The id of the span that has submitted it; "": none has.
        epoch: A run that was retried has a span more each time, linked to the first.
        began_s, ended_s: Of the epoch, in seconds since the epoch of the clock.
    """

    graph_id: str
    name: str
    status: str
    traceparent: str
    tracestate: str
    parent: str
    epoch: int
    began_s: float
    ended_s: float


class RequestSpan:
    """
    A request that is being answered; many are at once. This one is none.

    Attributes:
        headers: What tells others which request they are called in; empty if it is not traced.
    """

    @property
    def headers(self) -> dict[str, str]:
        return {}

    def link(self, traceparent: str) -> None:
        """It is about what another trace tells of."""

    def ended(self, code: str, *, failed: bool) -> None:
        """It is answered, with HTTP's status or gRPC's."""


NO_REQUEST = RequestSpan()


class Span:
    """One step, from entering to leaving it; an error it is left by is its own. This one is none."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def answered(self, model: str, provider: str, stop_reason: str, usage: Usage) -> None:
        """A model has answered; *provider* is empty if it is the one that is set."""

    def failed(self, code: str) -> None:
        """It has failed without raising anything."""

    def ended(self, how: str, mode: Mode | None = None, code: str | None = None) -> None:
        """
        Note the item's end: `completed`, `failed`, `repeated`, `fenced`, `released`, `lost` or `postponed`.

        Args:
            code: The error code of its failure.
        """


NO_SPAN = Span()


class Tracing:
    """
    All spans of one worker, which does one thing at a time. This one makes none.

    Attributes:
        wanted: Spans are made: else there is no need to put together what they begin with.
        headers: What tells others which step they are called in (W3C Trace Context); empty outside of one.
        item_traceparent: The same for the item's own span alone; empty if there is none.
    """

    wanted = False

    @property
    def headers(self) -> dict[str, str]:
        return {}

    @property
    def item_traceparent(self) -> str:
        return ""

    def item(self, facts: ItemFacts) -> Span:
        return NO_SPAN

    def agent(self, node_id: str, model: str) -> Span:
        return NO_SPAN

    def model(self, model: str) -> Span:
        return NO_SPAN

    def tool(self, name: str, source: str) -> Span:
        return NO_SPAN

    def request(self, name: str, kind: str, headers: Mapping[str, str]) -> RequestSpan:
        """
        Begin to answer a request.

        Args:
            kind: http or grpc.
            headers: That came with it.
        """
        return NO_REQUEST

    def run(self, facts: RunFacts) -> None:
        """Tell of a run that has ended."""

    def resumed(self, traceparent: str) -> None:
        """The item's run goes on from that of another span."""

    def heard(self) -> bool:
        """Tell whether a collector takes the spans; asks for it."""
        return True

    def close(self, seconds: float) -> None:
        """Send what is left, for so long at most."""


NO_TRACING = Tracing()
