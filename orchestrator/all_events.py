"""
Events of all runs, those of runs alone: from a position in their stream, and as they come.

One connection waits for what is new as long as there are readers, and what came last is kept once for all of them.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.asynchronous import Client, OwnLine
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.names import GRAPH_EVENTS
from executor_worker.errors import StreamError
from executor_worker.json_text import dumps, loads
from orchestrator.events import AGAIN_S, QUIET_S
from orchestrator.shown import Batch, Mark, Shown

OF_RUNS = "graph."  # what the types of a run's own events begin with
KEPT = 1000
PAGE = 500
BLOCK_S = 5.0
FIRST, NOW = "0", "now"
_POSITION = re.compile(r"(\d{1,15})(?:-(\d{1,10}))?")
_Position = tuple[int, int]


def position_of(text: str) -> _Position | None:
    """Read a position: an event's id as it came, or milliseconds since the epoch; None if it is none."""
    found = _POSITION.fullmatch(text)
    return (int(found[1]), int(found[2] or 0)) if found else None


@dataclass(frozen=True, slots=True)
class Page:
    """Attributes: events, next_after (the position behind all that was looked at)."""

    events: Batch
    next_after: str


class AllEvents:
    """
    Args:
        leaving: Set when this process is to end.
    """

    def __init__(self, client: Client, leaving: asyncio.Event) -> None:
        self._client = client
        self._leaving = leaving
        self._positions: deque[_Position] = deque(maxlen=KEPT)
        self._kept: deque[Shown] = deque(maxlen=KEPT)
        self._base: _Position | None = None  # all events behind this one are kept; None: none are
        self._last: _Position = (0, 0)
        self._news = asyncio.Event()
        self._readers = 0
        self._waiting: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """Tell all readers that this process is to end."""
        self._tell()

    async def now(self) -> _Position:
        """
        Return the position behind all that has been.

        Raises:
            StreamError: Not now.
        """
        (last,) = checked(await self._client.ask([("XREVRANGE", GRAPH_EVENTS, "+", "-", "COUNT", 1)]))
        return _position_in(last[0][0]) if last else (0, 0)

    async def page(self, after: _Position, limit: int, types: Collection[str] = ()) -> Page:
        """
        Read on after a position.

        Raises:
            StreamError: Not now.
        """
        shown, last = await self._read(after, limit)
        return Page(_wanted(shown, types), _id(last))

    async def follow(
        self, after: _Position, types: Collection[str] = (), quiet_s: float = QUIET_S
    ) -> AsyncGenerator[Batch | Mark]:
        """
        Yield events after a position, as they come; Redis may be away meanwhile.

        Raises:
            StreamError: Redis was not there at the beginning.
        """
        await self.now()
        async with self._reading():
            while not self._leaving.is_set():
                news = self._news
                try:
                    shown, last = await self._behind(after)
                except StreamError:
                    await asyncio.sleep(AGAIN_S)
                    continue
                if found := _wanted(shown, types):
                    yield found
                if last == after and not await _within(quiet_s, news):
                    yield Mark.QUIET
                after = last
            yield Mark.LEAVING

    async def _behind(self, after: _Position) -> tuple[list[Shown], _Position]:
        """Take what is kept; who is further behind reads for itself."""
        if self._base is None or after < self._base:
            return await self._read(after, PAGE)
        found = list(self._kept)[bisect_right(self._positions, after) :]
        return found, max(after, self._last)

    async def _read(self, after: _Position, limit: int) -> tuple[list[Shown], _Position]:
        (found,) = checked(await self._client.ask([("XRANGE", GRAPH_EVENTS, f"({_id(after)}", "+", "COUNT", limit)]))
        return _shown(found), _position_in(found[-1][0]) if found else after

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        self._readers += 1
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._wait())
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                task, self._waiting = self._waiting, None
                task.cancel()
                self._forget()

    async def _wait(self) -> None:
        """Wait for what is new, again and again; looks by itself too: Python 3.11 may lose a cancellation."""
        line = OwnLine(self._client)
        try:
            while self._mine():
                try:
                    if self._base is None:
                        last = await self.now()
                        if not self._mine():
                            return
                        self._base = self._last = last
                        self._tell()
                    await self._hear(line)
                except StreamError:
                    if self._mine():
                        self._forget()
                    await asyncio.sleep(AGAIN_S)
        finally:
            await line.close()

    async def _hear(self, line: OwnLine) -> None:
        words = ("XREAD", "COUNT", PAGE, "BLOCK", int(BLOCK_S * 1000), "STREAMS", GRAPH_EVENTS, _id(self._last))
        reply = await line.ask(*words, timeout_s=2 * BLOCK_S)
        if not reply or not self._mine():
            return
        found = reply[0][1]
        for one in _shown(found):
            if len(self._kept) == KEPT:
                self._base = self._positions[0]
            self._kept.append(one)
            self._positions.append(_position_in(one.cursor.encode()))
        self._last = _position_in(found[-1][0])
        self._tell()

    def _mine(self) -> bool:
        """Tell whether the task that asks is the one that waits for all readers."""
        return self._waiting is asyncio.current_task()

    def _forget(self) -> None:
        self._kept.clear()
        self._positions.clear()
        self._base = None
        self._tell()

    def _tell(self) -> None:
        """Let all readers look."""
        news, self._news = self._news, asyncio.Event()
        news.set()


async def _within(seconds: float, news: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()
    return news.is_set()


def _position_in(entry: bytes) -> _Position:
    ms, _, number = entry.partition(b"-")
    return int(ms), int(number)


def _id(position: _Position) -> str:
    return f"{position[0]}-{position[1]}"


def _shown(entries: list[Any]) -> list[Shown]:
    """Make events of entries, of those that are about runs."""
    found = []
    for entry, fields in entries:
        kind, raw = _event(fields)
        if kind.startswith(OF_RUNS):
            block = b"id: %b\nevent: %b\ndata: %b\n\n" % (entry, kind.encode(), raw)
            found.append(Shown(0, kind, "", entry.decode(), block))
    return found


def _event(fields: list[bytes] | None) -> tuple[str, bytes]:
    """Read an entry: its type, and its JSON on one line; others write there too, and entries may be gone."""
    try:
        event = loads(fields[1]) if fields else {}
        kind = event["type"]
        return (kind if isinstance(kind, str) and kind.isprintable() else ""), dumps(event)
    except (ValueError, KeyError, TypeError):
        return "", b""


def _wanted(shown: list[Shown], types: Collection[str]) -> Batch:
    return Batch(one for one in shown if not types or one.kind in types)
