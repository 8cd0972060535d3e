"""Everything that the faces share: made once in each API process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.runs import Submitted
from executor_worker.errors import StreamError
from executor_worker.graph.ends import RunEnd
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from orchestrator.all_events import AllEvents
from orchestrator.errors import Invalid
from orchestrator.events import Feeds
from orchestrator.service.access import Access
from orchestrator.service.fleet import Fleet
from orchestrator.service.many_runs import ManyRuns
from orchestrator.service.rules import Rules
from orchestrator.service.run_log import RunLog
from orchestrator.service.runs import Runs
from orchestrator.service.submissions import Context, Order
from orchestrator.settings import ApiSettings

Gauge = tuple[str, str, dict[tuple[tuple[str, str], ...], float]]
T = TypeVar("T")
LARGE = 64 * 1024
"""Bytes from which a body is read and checked in a thread."""
LATE_S = 15.0
"""After which what is due for runs has been left lying: keepers look every few seconds."""
ANSWERS_S = 2.0  # a Redis that takes longer is not well


class Meter(Protocol):
    """Counts what happens here."""

    def subscribed(self, change: int) -> None:
        """A reader of events has come (1) or gone (-1)."""

    def submitted(self, status: str) -> None:
        """A graph was submitted, or has failed to be."""

    def ended(self, ends: Iterable[RunEnd]) -> None:
        """Runs are over with what was done here."""


class Service:
    """
    Args:
        client: Redis.
        rules: Of those who run nodes.

    Attributes:
        leaving: Set when this process is to end: streams say so and close.
    """

    def __init__(
        self, client: Client, settings: ApiSettings, rules: Rules, meter: Meter, tracing: Tracing = NO_TRACING
    ) -> None:
        self.client = client
        self.settings = settings
        self.meter = meter
        self.tracing = tracing
        self.access = Access(settings.tokens, settings.rate)
        self.fleet = Fleet(client)
        self.leaving = asyncio.Event()
        self._at_work: set[asyncio.Future[None]] = set()
        self._large = asyncio.Semaphore(settings.bodies)
        self.feeds = Feeds(client, self.leaving)
        self.all_events = AllEvents(client, self.leaving)
        self.runs = Runs(client, settings, rules, self.feeds, self._ended)
        self.run_log = RunLog(client)
        self.many_runs = ManyRuns(client)

    def leave(self) -> None:
        """Begin to end: no request waits for anything any more."""
        self.leaving.set()
        self.feeds.leave()
        self.all_events.leave()

    async def health(self) -> dict[str, Any]:
        """Say how the system is: `status` is healthy, degraded or unhealthy."""
        checks = {"redis": "ok", "workers": "ok", "scheduler": "ok"}
        status = "healthy"
        try:
            async with asyncio.timeout(ANSWERS_S):
                checked(await self.client.ask([("PING",)]))
                late_s = await self.many_runs.overdue_s()
                alive = sum(one["status"] in ("idle", "busy") for one in await self.fleet.entries())
        except (StreamError, TimeoutError):
            unknown = "unknown: Redis does not answer"
            checks, status = {"redis": "does not answer", "workers": unknown, "scheduler": unknown}, "unhealthy"
        else:
            if not alive:
                checks["workers"], status = "no worker is up: runs wait for one", "degraded"
            if late_s > LATE_S:
                told = f"what has been due for {late_s:.0f} s is left lying: no keeper does it"
                checks["scheduler"], status = told, "degraded"
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"status": status, "timestamp": now, "checks": checks}

    async def gauges(self) -> list[Gauge]:
        """Read what is shown beside what was counted; nothing while Redis is away."""
        try:
            async with asyncio.timeout(ANSWERS_S):
                seen, late_s, stats = (
                    await self.many_runs.overview(),
                    await self.many_runs.overdue_s(),
                    await self.fleet.stats(),
                )
        except (StreamError, TimeoutError):
            return []
        workers: dict[tuple[tuple[str, str], ...], float] = {
            (("node_type", kind),): float(one["total_workers"]) for kind, one in stats.items()
        }
        return [
            ("dago_active_executions", "Number of currently active executions.", {(): float(seen.active)}),
            ("dago_oldest_run_age_seconds", "Since the oldest active run was submitted.", {(): seen.oldest_s}),
            (
                "dago_run_nodes_ready",
                "Nodes of the oldest active runs that wait for a worker.",
                {(): float(seen.ready)},
            ),
            ("dago_run_nodes_running", "Nodes of the oldest active runs in hand.", {(): float(seen.running)}),
            ("dago_runs_overdue_seconds", "For how long what is due for runs has been left lying.", {(): late_s}),
            ("dago_worker_count", "Current number of workers by type.", workers),
        ]

    def _ended(self, ends: Sequence[RunEnd]) -> None:
        """Count runs that are over with what was done here, and tell of their spans."""
        self.meter.ended(ends)
        if ends and self.tracing.wanted:
            self.later(self._trace(ends))

    async def _trace(self, ends: Sequence[RunEnd]) -> None:
        with suppress(StreamError):  # then a span is missing
            for end in ends:
                if found := await self.runs.trace(end.graph_id):
                    self.tracing.run(found)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* while other requests are served."""
        task = asyncio.ensure_future(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for what is done in the background."""
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=seconds)

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of this process."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.leaving.wait()

    async def work(self, size: int, task: Callable[[], T]) -> T:
        """Do what takes long for large bodies: those in a thread, a few at a time, since they hold up all others."""
        if size <= LARGE:
            return task()
        async with self._large:
            return await asyncio.to_thread(task)

    async def submit(self, reading: Awaitable[Order], context: Context) -> Submitted:
        """
        Submit what *reading* reads, and count it.

        Raises:
            Invalid: It can't be run; counted too.
            RunError, StreamUnavailable: It was not accepted.
        """
        try:
            order = await reading
        except Invalid:
            self.meter.submitted("failed")
            raise
        made = await self.runs.submit(order, context)
        if not made.replayed:
            self.meter.submitted("submitted")
        return made

    async def ready(self) -> bool:
        """Tell whether requests can be served now."""
        if self.leaving.is_set():
            return False
        try:
            async with asyncio.timeout(ANSWERS_S):
                checked(await self.client.ask([("PING",)]))
        except (StreamError, TimeoutError):
            return False
        return True
