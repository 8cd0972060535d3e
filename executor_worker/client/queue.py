"""Plain items from Python: put one node's work on the stream, and get what came of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import STATE_PREFIX, WORK_STREAMS
from executor_worker.broker.queue.submit import add_items
from executor_worker.client.errors import DagoError, NotEnded
from executor_worker.json_text import dumps, loads

NODE = "node"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
_ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Job:
    """
    One item that was submitted.

    Attributes:
        status: queued (or running), completed, failed or cancelled.
        output: A JSON value; None unless it completed.
        error: A sentence; None unless it failed.
    """

    id: str
    status: str
    output: Any = None
    error: str | None = None

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
            queue: A pool that serves it takes it; None: the ordinary stream.

        Returns:
            The job's id.

        Raises:
            StreamUnavailable: It was not added, or that is unknown.
        """
        job = uuid.uuid4().hex
        item = {"graph_id": job, "node_id": NODE, "config": dict(config), "inputs": dict(inputs or {})}
        stream = WORK_STREAMS[0] if queue is None else f"{WORK_STREAMS[0]}:{queue}"
        add_items(self._link, [dumps(item)], stream=stream)
        return job

    def job(self, job_id: str) -> Job:
        """Say how a job is; one that is unknown is as one that has not begun."""
        raw = self._link.call("GET", STATE_PREFIX + job_id)
        state = (loads(raw).get("node_states") or {}).get(NODE, {}) if raw is not None else {}
        status = state.get("status")
        if status not in _ENDED:
            return Job(job_id, "queued")
        return Job(job_id, status, state.get("output"), state.get("error"))

    def result(self, job_id: str, timeout: float | None = None) -> Any:
        """
        Wait for a job's output.

        Raises:
            DagoError: It failed.
            NotEnded: It has not ended within *timeout* seconds; it goes on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        pause_s = FIRST_PAUSE_S
        while not (job := self.job(job_id)).ended:
            if ends is not None and time.monotonic() >= ends:
                raise NotEnded(job_id, timeout or 0)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if job.status != "completed":
            raise DagoError(job.error or f"the job {job_id} is {job.status}", "FAILED")
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
        ends = None if timeout is None else time.monotonic() + timeout
        pause_s = FIRST_PAUSE_S
        while not (job := await self.job(job_id)).ended:
            if ends is not None and time.monotonic() >= ends:
                raise NotEnded(job_id, timeout or 0)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if job.status != "completed":
            raise DagoError(job.error or f"the job {job_id} is {job.status}", "FAILED")
        return job.output
