"""
A run's events, from a position in its log and as they come: one log for all readers and transports.

Readers keep nothing but their position. What came last is kept once for all readers of a run, so that many readers
cost one reading; one that is slow, or begins far behind, reads from Redis by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from executor_worker.broker.connection.asynchronous import Client, Subscriptions
from executor_worker.broker.graphs import live_channel, runs
from executor_worker.broker.graphs.requests_async import adrive
from executor_worker.errors import StreamUnavailable
from executor_worker.json_text import dumps, loads

QUIET_S = 15.0
KEPT = 64  # events of one run that are kept for its readers
PAGE = 500
PAGE_WITH_OUTPUTS = 8  # each of them may be megabytes
AGAIN_S = 0.5  # before Redis is asked again when it was away


class Mark(Enum):
    """The mark that a reader is told between events."""

    QUIET = "quiet"  # nothing has come for a while
    RESET = "reset"  # its position is one that the log no longer has: all comes again
    LEAVING = "leaving"  # this process ends: join again at another


@dataclass(frozen=True, slots=True)
class Shown:
    """
    One event.

    Attributes:
        cursor: The position after it, as SSE's `id`.
        raw: As JSON, in the usual names.
    """

    seq: int
    kind: str
    node: str
    cursor: str
    raw: bytes

    @classmethod
    def of(cls, event: dict[str, Any]) -> Shown:
        return cls(event["seq"], event["type"], event.get("node_id", ""), runs.cursor_of(event), dumps(event))

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = loads(self.raw)
        return found

    def renamed(self) -> bytes:
        """Write it in the names that the original's documents have: `node_completed`."""
        return dumps({**self.event, "type": self.kind.replace(".", "_")})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The events that a reader wants; empty: all."""

    types: Collection[str] = ()
    nodes: Collection[str] = ()
    outputs: bool = False  # also those that are too large to be told with each event

    def holds(self, one: Shown) -> bool:
        return (not self.types or one.kind in self.types) and (not self.nodes or one.node in self.nodes)


@dataclass(frozen=True, slots=True)
class Position:
    """Attributes: seq (of the last event that was read), four (the beginning of its id; "": not known)."""

    seq: int = 0
    four: str = ""


class Feed:
    """The feed of one run: its latest events, shared by all readers here."""

    def __init__(self, graph_id: str, client: Client) -> None:
        self.graph_id = graph_id
        self.readers: set[asyncio.Event] = set()
        self.rebuilt = 0  # rises whenever the log may have become another one
        self._client = client
        self._lock = asyncio.Lock()
        self._kept: deque[Shown] = deque()
        self._base: int | None = None  # all events after this one are kept; None: none are
        self._ended = False
        self._stale = True

    def suspect(self) -> None:
        """Note that something new may have been missed."""
        self._stale = True

    def wake(self) -> None:
        """Note that there is something new."""
        self._stale = True
        for reader in self.readers:
            reader.set()

    def forget(self) -> None:
        """Note that anything may have changed."""
        self._kept.clear()
        self._base = None
        self.rebuilt += 1
        self.wake()

    async def after(self, seq: int, wanted: Wanted) -> tuple[list[Shown], int, bool]:
        """
        Read on after *seq*.

        Returns:
            Events that are wanted, the last seq that was looked at, whether it is the last of an ended run.

        Raises:
            RunUnknown: There is no such run.
            StreamUnavailable: Not now.
        """
        # While another reader is reading, what is kept is about to be newer: wait for it.
        if not wanted.outputs and self._reaches(seq) and (self._stale or self._lock.locked()):
            async with self._lock:
                if self._stale and self._reaches(seq):
                    await self._refresh(seq)
        if not wanted.outputs and self._reaches(seq) and not self._stale:
            found = [one for one in self._kept if one.seq > seq]
            looked = found[-1].seq if found else seq
            return [one for one in found if wanted.holds(one)], looked, self._ended
        most = PAGE_WITH_OUTPUTS if wanted.outputs else PAGE
        page = await adrive(self._client, runs.events(self.graph_id, seq, most, include_output=wanted.outputs))
        shown = [one for one in map(Shown.of, page.events) if wanted.holds(one)]
        return shown, page.next_after, page.ended

    def _reaches(self, seq: int) -> bool:
        """Tell whether nothing is missing between *seq* and what is kept."""
        return self._base is None or self._base <= seq

    async def _refresh(self, seq: int) -> None:
        """Read what has come after what is kept, or if nothing is, after *seq*."""
        after = self._kept[-1].seq if self._kept else seq if self._base is None else self._base
        self._stale, rebuilt = False, self.rebuilt
        try:
            page = await adrive(self._client, runs.events(self.graph_id, after, PAGE))
        except BaseException:
            self._stale = True
            raise
        if rebuilt != self.rebuilt:
            return
        self._base = after if self._base is None else self._base
        self._kept.extend(map(Shown.of, page.events))
        while len(self._kept) > KEPT:
            self._base = self._kept.popleft().seq
        self._ended = page.ended
        self._stale = self._stale or page.next_after < page.last_seq


class Feeds:
    """
    Feeds of all runs that clients read here.

    Args:
        leaving: Set when this process is to end.
    """

    def __init__(self, client: Client, leaving: asyncio.Event) -> None:
        self._client = client
        self._leaving = leaving
        self._feeds: dict[str, Feed] = {}
        self._subscriptions = Subscriptions(client, self._heard, self._lost)

    async def close(self) -> None:
        """Stop listening."""
        await self._subscriptions.close()

    async def follow(
        self, graph_id: str, position: Position, wanted: Wanted, quiet_s: float = QUIET_S
    ) -> AsyncIterator[list[Shown] | Mark]:
        """
        Yield a run's events from *position* on, as they come, until its last one.

        Redis may be away meanwhile: it goes on when that is back.

        Raises:
            RunUnknown: There is no such run (any more).
            StreamUnavailable: Redis was not there at the beginning.
        """
        await adrive(self._client, runs.require(graph_id))
        async with self._reading(graph_id) as (feed, news):
            seq, rebuilt = position.seq, -1
            four = position.four
            while True:
                news.clear()
                try:
                    if rebuilt != feed.rebuilt:
                        rebuilt = feed.rebuilt
                        if seq and not await self._is_there(graph_id, seq, four):
                            yield Mark.RESET
                            seq, four = 0, ""
                    shown, looked, ended = await feed.after(seq, wanted)
                except StreamUnavailable:
                    rebuilt = -1
                    await self._wait(news, AGAIN_S)
                    if self._leaving.is_set():
                        yield Mark.LEAVING
                        return
                    continue
                if shown:
                    yield shown
                    four = shown[-1].cursor.partition("-")[2] if shown[-1].seq == looked else ""
                elif looked > seq:
                    four = ""
                moved, seq = looked > seq, looked
                if ended:
                    return
                if self._leaving.is_set():
                    yield Mark.LEAVING
                    return
                if not moved and not await self._wait(news, quiet_s):
                    feed.suspect()  # look by ourselves: a message may have been lost
                    yield Mark.LEAVING if self._leaving.is_set() else Mark.QUIET

    async def wait(self, graph_id: str, until: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until *until* answers true, asked again whenever the run has news, at most *seconds*."""
        ends = asyncio.get_running_loop().time() + seconds
        async with self._reading(graph_id) as (_, news):
            while True:
                news.clear()
                if await until() or self._leaving.is_set():
                    return
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await self._wait(news, min(left, QUIET_S))

    async def _is_there(self, graph_id: str, seq: int, four: str) -> bool:
        """Tell whether the log still has event number *seq*, as it was read."""
        return await adrive(self._client, runs.check_cursor(graph_id, seq, four))

    @asynccontextmanager
    async def _reading(self, graph_id: str) -> AsyncIterator[tuple[Feed, asyncio.Event]]:
        feed = self._feeds.get(graph_id)
        if feed is None:
            feed = self._feeds[graph_id] = Feed(graph_id, self._client)
        news = asyncio.Event()
        feed.readers.add(news)
        channel = live_channel(graph_id)
        try:
            await self._subscriptions.add(channel)
            yield feed, news
        finally:
            feed.readers.discard(news)
            if not feed.readers and self._feeds.get(graph_id) is feed:
                del self._feeds[graph_id]
            await self._subscriptions.remove(channel)

    async def _wait(self, news: asyncio.Event, seconds: float) -> bool:
        """Wait for news, for the end of this process, or for time to pass; True: there is news."""
        waiting = {asyncio.ensure_future(news.wait()), asyncio.ensure_future(self._leaving.wait())}
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        return news.is_set()

    def _heard(self, channel: str) -> None:
        feed = self._feeds.get(channel.rpartition(":")[2])
        if feed is not None:
            feed.wake()

    def _lost(self) -> None:
        for feed in self._feeds.values():
            feed.forget()
