"""A client for load: requests at their times whatever the answers take, and many readers of events."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

HEAD = b"POST /api/v1/graphs HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
LEAD_S = 0.2
EACH = 7  # of so many events the time of one is read: a reader must not be what is slow
AT_ONCE = 50  # connections that are made at the same time


class Line(asyncio.Protocol):
    """One connection, on which one answer is awaited at a time."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[bytes] | None = None
        self._parts = b""
        self._answered_ms = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parts += data
        head, found, body = self._parts.partition(b"\r\n\r\n")
        if not found:
            return
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= size and self.answered is not None:
            self._parts, waiting, self.answered = b"", self.answered, None
            waiting.set_result(head[9:12] + body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("the connection was closed"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        answer = await self.answered
        return int(answer[:3]), answer[3:]


class OpenLoop:
    """
    Sends at a rate, and measures from when a request was due, so that one that has to wait is not forgotten.

    Attributes:
        waits_ms: How long each took.
        ids: The runs that were made.
    """

    def __init__(self, port: int, bodies: Sequence[bytes]) -> None:
        self._port = port
        self._requests = [HEAD % (len(body), body) for body in bodies]
        self._free: deque[Line] = deque()
        self.waits_ms: list[float] = []
        self.ids: list[str] = []

    async def run(self, rate: float, count: int) -> None:
        """Submit *count* graphs, *rate* a second."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter() + LEAD_S
        at_work = []
        for number in range(count):
            due = began + number / rate
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            at_work.append(loop.create_task(self._submit(number, due)))
        await asyncio.gather(*at_work)
        for line in self._free:
            line.transport.close()

    async def _submit(self, number: int, due: float) -> None:
        if self._free:
            line = self._free.pop()
        else:
            _, line = await asyncio.get_running_loop().create_connection(Line, "127.0.0.1", self._port)
        status, body = await line.ask(self._requests[number % len(self._requests)])
        self.waits_ms.append((time.perf_counter() - due) * 1000)
        self._free.append(line)
        assert status == 201, body
        self.ids.append(json.loads(body)["graph_id"])


class Reader(asyncio.Protocol):
    """
    A reader of one run's server-sent events.

    Attributes:
        seqs: The numbers of the events that came.
        late_ms: How much later than it was written each one was here, by the clock of this machine; of those that
            were written once it was connected.
    """

    def __init__(self, graph_id: str) -> None:
        self.graph_id = graph_id
        self.seqs: list[int] = []
        self.late_ms: list[float] = []
        self.answered, self.ended = asyncio.Event(), asyncio.Event()
        self._parts = b""
        self._answered_ms = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        line: Any = transport
        self.transport = line
        path = f"/api/v1/graphs/{self.graph_id}/events"
        line.write(f"GET {path} HTTP/1.1\r\nHost: api\r\nAccept: text/event-stream\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.time() * 1000
        if not self.answered.is_set():
            self._answered_ms = now
            self.answered.set()
        *whole, self._parts = (self._parts + data).split(b"\n\n")
        for block in whole:
            at = block.find(b"id: ")
            if at < 0:
                continue
            self.seqs.append(int(block[at + 4 : block.index(b"-", at)]))
            if len(self.seqs) % EACH == 0:
                text = block.partition(b'"timestamp":"')[2].partition(b'"')[0]
                written = datetime.fromisoformat(text.decode()).timestamp() * 1000
                if written >= self._answered_ms:
                    self.late_ms.append(now - written)
            if block.find(b"event: graph.completed") >= 0:
                self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def readers(port: int, graph_ids: Sequence[str]) -> list[Reader]:
    """Connect one reader for each of *graph_ids*; they are answered when this returns."""
    loop = asyncio.get_running_loop()
    found: list[Reader] = []
    for graph_id in graph_ids:
        _, reader = await loop.create_connection(partial(Reader, graph_id), "127.0.0.1", port)
        found.append(reader)
        if len(found) % AT_ONCE == 0:
            await asyncio.gather(*(one.answered.wait() for one in found))
    await asyncio.gather(*(one.answered.wait() for one in found))
    return found
