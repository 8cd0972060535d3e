"""Plain items from Python: put one node's work on the stream, and get what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import STATE_PREFIX
from executor_worker.broker.queue.failure_events import FailureEvents
from executor_worker.broker.queue.queues import note_queues, streams_of
from executor_worker.broker.queue.submit import add_items
from executor_worker.client.errors import DagoError, NotEnded
from executor_worker.envelopes.queue_name import DEFAULT, WANTED, is_queue_name, named_queue
from executor_worker.envelopes.time_id import made_at_ms, new_time_id
from executor_worker.json_text import dumps_exactly, loads

NODE = "node"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
MOST_LOOKED_FOR = 10_000  # jobs that wait, in one program; of others their failures are read anew
CLOCKS_APART_MS = 2 * 3600 * 1000  # what made the job's id may be so far ahead of Redis' clock
_ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Job:
    """
    One item that was submitted.

    Attributes:
        status: queued (or running), completed, failed or cancelled.
        output: A JSON value; None unless it completed.
        error: A sentence; None unless it failed.
        error_code: The word for it, e.g. tool_failed; None unless it failed.
    """

    id: str
    status: str
    output: Any = None
    error: str | None = None
    error_code: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in _ENDED


class WorkQueue:
    """
    Args:
        redis_url: As REDIS_ADDR takes it.
    """

    def __init__(self, redis_url: str, *, user: str | None = None, password: str | None = None, db: int = 0) -> None:
        self._link = Link(Endpoint.parse(redis_url, user, password, db), name="work-queue")
        self._failures: dict[str, FailureEvents] = {}  # of jobs that were asked for, the last one at the end

    def __enter__(self) -> WorkQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def submit(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, *, queue: str | None = None
    ) -> str:
        """
        Put a node's work on the stream.

        Args:
            config: What is to be run, as docs/MODES.md has it.
            inputs: What its templates name.
            queue: A pool that serves it takes it; None: the one that *config* names as `queue`, else the default one.

        Returns:
            The job's id.

        Raises:
            DagoError: No queue can have that name.
            StreamUnavailable: It was not added, or that is unknown.
        """
        if queue is not None and not is_queue_name(queue):
            raise DagoError(f"{queue!r} can't be a queue: it has to be {WANTED}", "INVALID_REQUEST")
        job = new_time_id().replace("-", "")
        item = {"graph_id": job, "node_id": NODE, "config": dict(config), "inputs": dict(inputs or {})}
        stream = streams_of(queue or named_queue(item["config"]) or DEFAULT)[0]
        self._link.batch(note_queues([stream]))
        add_items(self._link, [dumps_exactly(item)], stream=stream)
        return job

    def job(self, job_id: str) -> Job:
        """Say how a job is; one that is unknown is as one that has not begun."""
        return self._look(job_id)

    def result(self, job_id: str, timeout: float | None = None) -> Any:
        """
        Wait for a job's output.

        Raises:
            DagoError: It failed; its `code` says how.
            NotEnded: It has not ended within *timeout* seconds; it goes on.
        """
        pauses = _pauses(job_id, timeout)
        while not (job := self._look(job_id)).ended:
            time.sleep(next(pauses))
        return _output_of(job)

    def _look(self, job_id: str) -> Job:
        raw = self._link.call("GET", STATE_PREFIX + job_id)
        state = (loads(raw).get("node_states") or {}).get(NODE, {}) if raw is not None else {}
        status = state.get("status")
        if status in _ENDED:
            code = (state.get("metadata") or {}).get("error_code")
            self._failures.pop(job_id, None)
            return Job(job_id, status, state.get("output"), state.get("error"), code)
        # What could not be read as an item lies with the dead letters, and no state is written.
        failure = self._failures_of(job_id).look()
        if failure is None:
            return Job(job_id, "queued")
        return Job(job_id, "failed", None, failure.get("error"), failure.get("error_code"))

    def _failures_of(self, job_id: str) -> FailureEvents:
        """Go on where the last look ended: others' failures may be a hundred thousand."""
        found = self._failures.pop(job_id, None)
        if found is None:
            found = FailureEvents(self._link, job_id, made_at_ms(job_id) - CLOCKS_APART_MS)
        self._failures[job_id] = found
        if len(self._failures) > MOST_LOOKED_FOR:
            del self._failures[next(iter(self._failures))]
        return found


def _pauses(job_id: str, timeout: float | None) -> Iterator[float]:
    """
    Say how long to wait before each next look.

    Raises:
        NotEnded: Time is up.
    """
    ends = None if timeout is None else time.monotonic() + timeout
    pause_s = FIRST_PAUSE_S
    while ends is None or time.monotonic() < ends:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    raise NotEnded(job_id, timeout or 0)


def _output_of(job: Job) -> Any:
    if job.status != "completed":
        raise DagoError(job.error or f"the job {job.id} is {job.status}", job.error_code or "FAILED")
    return job.output


class AsyncWorkQueue:
    """`WorkQueue` with `await`: what it asks, it asks in a thread, one thing at a time."""

    def __init__(self, redis_url: str, *, user: str | None = None, password: str | None = None, db: int = 0) -> None:
        self._queue = WorkQueue(redis_url, user=user, password=password, db=db)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> AsyncWorkQueue:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue.close()

    async def submit(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, *, queue: str | None = None
    ) -> str:
        """Put a node's work on the stream; see `WorkQueue.submit`."""
        async with self._turn:
            return await asyncio.to_thread(self._queue.submit, config, inputs, queue=queue)

    async def job(self, job_id: str) -> Job:
        """Say how a job is."""
        async with self._turn:
            return await asyncio.to_thread(self._queue.job, job_id)

    async def result(self, job_id: str, timeout: float | None = None) -> Any:
        """Wait for a job's output; see `WorkQueue.result`."""
        pauses = _pauses(job_id, timeout)
        while not (job := await self.job(job_id)).ended:
            await asyncio.sleep(next(pauses))
        return _output_of(job)
