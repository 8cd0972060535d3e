"""The verbs of one run, a function each, over the kernel's; its log is in `run_log`, many runs are in `many_runs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.graphs import RedisFull, RunEnded, RunNotEnded, RunStopping, Steps, runs
from executor_worker.broker.graphs.document_pieces import apieces, document_pieces, result_pieces
from executor_worker.broker.graphs.memory import Room
from executor_worker.broker.graphs.requests_async import adrive
from executor_worker.broker.graphs.traces import trace_of_run
from executor_worker.envelopes.traces import trace_id
from executor_worker.errors import StreamUnavailable
from executor_worker.graph.ends import RunEnd
from executor_worker.graph.problems import Problem
from executor_worker.graph.validation import Report
from executor_worker.json_text import dumps
from executor_worker.telemetry.tracing import RunFacts
from orchestrator.errors import Conflict, NotFound
from orchestrator.events import Feeds
from orchestrator.service import detail, submissions, views
from orchestrator.service.known_graphs import KnownGraphs
from orchestrator.service.rules import Rules
from orchestrator.service.submissions import Context, Order
from orchestrator.settings import ApiSettings

T = TypeVar("T")
TRIES = 3  # of a submission whose reply is lost: the same run each time
AGAIN_S = 0.2
LONGEST_WAIT_S = 300


class Runs:
    """
    Args:
        rules: Of those who run nodes.
        ended: Is told of runs that are over with what is done here.
    """

    def __init__(
        self,
        client: Client,
        settings: ApiSettings,
        rules: Rules,
        feeds: Feeds,
        ended: Callable[[Sequence[RunEnd]], None],
    ) -> None:
        self._client = client
        self._settings = settings
        self._rules = rules
        self._feeds = feeds
        self._ended = ended
        self._known = KnownGraphs()
        self._room = Room()

    # What is submitted

    def read(self, body: Mapping[str, Any], *, keyed: bool, repeated: Sequence[Problem] = ()) -> Order:
        """
        Read a body; takes up to a second for the largest, so large ones are read in a thread.

        Args:
            repeated: The names that stood twice in its text.

        Raises:
            InvalidRequest, Invalid: It can't be run.
        """
        return submissions.read(body, self._settings, self._rules, self._known, keyed=keyed, repeated=repeated)

    def validate(
        self, body: Mapping[str, Any], offered: frozenset[str] | None = None, repeated: Sequence[Problem] = ()
    ) -> Report:
        """
        Tell all that is wrong with a body.

        Args:
            offered: Tools that workers have at present; None: unknown.
            repeated: The names that stood twice in its text.

        Raises:
            InvalidRequest: There is no graph in it.
        """
        return submissions.examine(body, self._settings, self._rules, offered, repeated)

    async def submit(self, order: Order, context: Context) -> runs.Submitted:
        """
        Store a run and queue its first nodes; when this returns, it is kept.

        Raises:
            IdempotencyMismatch, TooManyRuns, RedisFull, StreamUnavailable: It is not.
        """
        submission = submissions.submission_of(order, context, self._settings, runs.new_graph_id(), self._room)
        for attempt in range(1, TRIES + 1):
            try:
                made = await self._do(runs.submit(submission, self._rules.render))
            except StreamUnavailable as error:
                if attempt == TRIES or isinstance(error, RedisFull):
                    raise
                await asyncio.sleep(AGAIN_S)  # its reply may have been lost: then it is found again
            else:
                self._ended(made.ends)
                return made
        raise AssertionError("unreachable")

    # What can be seen

    async def head(self, graph_id: str) -> runs.Head:
        """
        Raises:
            RunUnknown: There is no such run.
        """
        return await self._do(runs.require(graph_id))

    async def document(self, graph_id: str, *, full: bool = False) -> AsyncGenerator[bytes]:
        """
        Write all of a run: its state document, its trace, its nodes in order, what it has used.

        Raises:
            RunUnknown: There is no such run, or it was deleted meanwhile.
        """
        head = await self._do(runs.require(graph_id))
        found = await self._do(runs.nodes(graph_id)) or []
        async for piece in apieces(self._client, document_pieces(graph_id, full=full)):
            yield piece
        nodes = [views.node_of(one) for one in found]
        more = dumps({"trace_id": trace_id(head.traceparent), "nodes": nodes, "usage": views.usage_of(found)})
        yield b"," + more[1:]

    async def result(self, graph_id: str, *, full: bool = False) -> bytes:
        """
        Raises:
            RunUnknown, RunNotEnded: There is none.
        """
        return await self._do(runs.result(graph_id, full=full))

    def result_pieces(self, graph_id: str, *, full: bool) -> AsyncGenerator[bytes]:
        """
        Write the result as it is read: it may be larger than this process may become.

        Raises:
            RunUnknown, RunNotEnded: There is none.
        """
        return apieces(self._client, result_pieces(graph_id, full=full))

    async def node(self, graph_id: str, name: str) -> dict[str, Any]:
        """
        Look at a node closely: its state, config as it was rendered, edges, steps.

        Raises:
            RunUnknown, NotFound: There is none.
        """
        found = await self._node(graph_id, name)
        return await self._do(detail.of(graph_id, found, self._rules.render))

    async def wait(self, graph_id: str, seconds: float, after: int | None = None) -> runs.Head:
        """
        Wait for a run's end, or with *after* for an event beyond that number; return how it is then.

        Raises:
            RunUnknown: There is no such run.
        """
        head = await self.head(graph_id)
        if seconds <= 0 or _there(head, after):
            return head

        async def look() -> bool:
            nonlocal head
            head = await self.head(graph_id)
            return _there(head, after)

        await self._feeds.wait(graph_id, look, min(seconds, LONGEST_WAIT_S))
        return head

    # What can be done

    async def cancel(self, graph_id: str) -> runs.Cancelled:
        """
        Raises:
            RunUnknown, RunEnded, RunStopping: It can't be cancelled.
        """
        done = await self._do(runs.cancel(graph_id))
        self._ended(done.ends)
        return done

    async def retry(self, graph_id: str, epoch: int | None = None) -> runs.Retried:
        """
        Begin a failed or cancelled run again.

        Args:
            epoch: The one that the caller has seen end; None: whichever has.

        Raises:
            RunUnknown, Conflict, NothingToRetry, StaleEpoch: It can't be retried.
        """
        try:
            return await self._do(runs.retry(graph_id, epoch))
        except RunNotEnded as error:
            raise Conflict(str(error), details={"status": error.status}) from None

    async def hold(self, graph_id: str, *, held: bool) -> runs.Head:
        """
        Let nothing new of a run start, or let it go on.

        Raises:
            RunUnknown, Conflict: It has ended, or is stopping.
        """
        try:
            return await self._do(runs.hold(graph_id) if held else runs.resume(graph_id))
        except (RunEnded, RunStopping) as error:
            raise Conflict(str(error), details={"status": error.status}) from None

    async def signal(self, graph_id: str, name: str, payload: Any) -> None:
        """
        Answer a node that waits for a signal.

        Raises:
            RunUnknown, NotFound: There is no such node.
            Conflict: It waits for none: no type of node does yet.
        """
        found = await self._node(graph_id, name)
        about = f"the node {name!r} is a {found.plan.type} node, and waits for no signal"
        raise Conflict(about, details={"status": found.view.status})

    async def delete(self, graph_id: str) -> None:
        """
        Forget an ended run.

        Raises:
            RunUnknown, Conflict: It goes on.
        """
        try:
            await self._do(runs.delete(graph_id))
        except RunNotEnded as error:
            raise Conflict(str(error), details={"status": error.status}) from None

    async def trace(self, graph_id: str) -> RunFacts | None:
        """Look at an ended run's trace."""
        return await self._do(trace_of_run(graph_id))

    async def _node(self, graph_id: str, name: str) -> runs.NodeDetail:
        """
        Raises:
            RunUnknown, NotFound: There is none.
        """
        await self._do(runs.require(graph_id))
        found = await self._do(runs.node(graph_id, name))
        if found is None:
            raise NotFound(f"the run {graph_id} has no node {name[:200]!r}")
        return found

    async def _do(self, steps: Steps[T]) -> T:
        return await adrive(self._client, steps)


def _there(head: runs.Head, after: int | None) -> bool:
    return head.ended or (after is not None and head.seq > after)
