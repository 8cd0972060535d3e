"""
A run's events, from a position in its log and as they come: one log for all readers and transports.

Readers keep nothing but their position. What came last is kept once for all readers of a run, so that many readers
cost one reading; one that is slow, or begins far behind, reads from Redis by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from executor_worker.broker.connection.asynchronous import Client, Subscriptions
from executor_worker.broker.graphs import live_channel, runs
from executor_worker.broker.graphs.requests_async import adrive
from executor_worker.broker.names import DELTAS_CHANNEL, deltas_channel
from executor_worker.errors import StreamUnavailable
from orchestrator.shown import KEPT, Batch, Mark, Position, Reader, Shown, Wanted

QUIET_S = 15.0
PAGE = 500
PAGE_WITH_OUTPUTS = 8  # each of them may be megabytes
LOOK_S = 0.5
AGAIN_S = 0.5  # before Redis is asked again when it was away


class Feed:
    """The feed of one run: its latest events, read once for all readers here."""

    def __init__(self, graph_id: str, client: Client) -> None:
        self.graph_id = graph_id
        self.readers: set[Reader] = set()
        self.heard = 0  # number of the last event that we were told of
        self.rebuilt = 0  # rises whenever the log may have become another one
        self._client = client
        self._kept: deque[Shown] = deque()
        self._base: int | None = None  # all events after this one are kept; None: none are
        self._ended = False
        self._stale = False
        self._reading: asyncio.Task[None] | None = None
        self._failed: Exception | None = None
        self._together: tuple[int, Batch] | None = None  # a position, and what is kept after it

    def hear(self) -> None:
        """Note that there is something new, or that it may have been missed: it is read, then readers are woken."""
        self._stale = True
        if self._base is None:
            self.wake()
        elif self._reading is None:
            self._reading = asyncio.ensure_future(self._read_on())

    def show(self, delta: Shown) -> None:
        """Show something to the readers who want it, between events."""
        for reader in self.readers:
            if reader.deltas is not None:
                reader.deltas.append((self.heard, delta))
                reader.wake()

    def wake(self) -> None:
        """Let all readers look."""
        for reader in self.readers:
            reader.wake()

    def forget(self) -> None:
        """Note that anything may have changed."""
        self._kept.clear()
        self._together = None
        self._base = None
        self._failed = None
        self.heard = 0
        self.rebuilt += 1
        self.wake()

    async def after(self, seq: int, wanted: Wanted) -> tuple[Batch, int, bool]:
        """
        Read on after *seq*.

        Returns:
            Events that are wanted, the last seq that was looked at, whether it is the last of an ended run.

        Raises:
            RunUnknown: There is no such run.
            StreamUnavailable: Not now.
        """
        if not wanted.outputs:
            if self._base is None:
                await self._begin(seq)
            if self._failed is not None:
                raise self._failed
            if self._base is not None and self._base <= seq:  # nothing is missing between
                found = self._latest(seq)
                looked = found[-1].seq if found else seq
                return found if wanted.all else Batch(filter(wanted.holds, found)), looked, self._ended
        most = PAGE_WITH_OUTPUTS if wanted.outputs else PAGE
        page = await adrive(self._client, runs.events(self.graph_id, seq, most, include_output=wanted.outputs))
        shown = Batch(one for one in map(Shown.of, page.events) if wanted.holds(one))
        return shown, page.next_after, page.ended

    def _latest(self, seq: int) -> Batch:
        """Return what is kept after *seq*: put together once for all readers who are there."""
        if self._together is None or self._together[0] != seq:
            self._together = seq, Batch(one for one in self._kept if one.seq > seq)
        return self._together[1]

    async def _begin(self, seq: int) -> None:
        """Keep what comes after *seq*, unless another reader has begun meanwhile."""
        rebuilt = self.rebuilt
        page = await adrive(self._client, runs.events(self.graph_id, seq, PAGE))
        if self._base is None and rebuilt == self.rebuilt:
            self._base = seq
            self._keep(page)
            if page.next_after < page.last_seq or self._stale:
                self.hear()

    async def _read_on(self) -> None:
        """Read until nothing is new."""
        try:
            while self._stale and self._base is not None:
                self._stale, rebuilt = False, self.rebuilt
                last = self._kept[-1].seq if self._kept else self._base
                page = await adrive(self._client, runs.events(self.graph_id, last, PAGE))
                if rebuilt == self.rebuilt:
                    self._keep(page)
                    self._stale = self._stale or page.next_after < page.last_seq
                    self.wake()
        except StreamUnavailable:
            self.forget()  # readers ask for themselves, and wait until Redis is back
        except Exception as error:  # noqa: BLE001 - the run is gone: readers are told
            self._failed = error
            self.wake()
        finally:
            self._reading = None

    def _keep(self, page: runs.EventPage) -> None:
        self._ended = page.ended
        if page.events:
            self._together = None
            self._kept.extend(map(Shown.of, page.events))
            while len(self._kept) > KEPT:
                self._base = self._kept.popleft().seq


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
        self._clock: asyncio.TimerHandle | None = None

    def leave(self) -> None:
        """Tell all readers that this process is to end."""
        for feed in self._feeds.values():
            feed.wake()

    async def close(self) -> None:
        """Stop listening."""
        await self._subscriptions.close()

    async def follow(
        self, graph_id: str, position: Position, wanted: Wanted, quiet_s: float = QUIET_S
    ) -> AsyncGenerator[Batch | Mark]:
        """
        Yield a run's events from *position* on, as they come, until its last one.

        Redis may be away meanwhile: it goes on when that is back.

        Raises:
            RunUnknown: There is no such run (any more).
            StreamUnavailable: Redis was not there at the beginning.
        """
        await adrive(self._client, runs.require(graph_id))
        async with self._reading(graph_id, quiet_s, deltas=wanted.deltas) as (feed, reader):
            seq, rebuilt = position.seq, -1
            four = position.four
            while True:
                reader.clear()
                try:
                    if rebuilt != feed.rebuilt:
                        rebuilt = feed.rebuilt
                        if seq and not await self._is_there(graph_id, seq, four):
                            yield Mark.RESET
                            seq, four = 0, ""
                            reader.forget_deltas()
                    shown, looked, ended = await feed.after(seq, wanted)
                except StreamUnavailable:
                    rebuilt = -1
                    await _pause(reader, AGAIN_S)
                    if self._leaving.is_set():
                        yield Mark.LEAVING
                        return
                    continue
                if laid := reader.laid_between(shown, looked, wanted):
                    yield laid
                if shown:
                    four = shown[-1].cursor.partition("-")[2] if shown[-1].seq == looked else ""
                elif looked > seq:
                    four = ""
                moved, seq = looked > seq or len(laid) > len(shown), looked
                if ended:
                    return
                if self._leaving.is_set():
                    yield Mark.LEAVING
                    return
                if not moved and not await reader.wait():
                    feed.hear()  # look by ourselves: a message may have been lost
                    yield Mark.QUIET

    async def wait(self, graph_id: str, until: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until *until* answers true, asked again whenever the run has news, at most *seconds*."""
        ends = asyncio.get_running_loop().time() + seconds
        async with self._reading(graph_id, QUIET_S) as (_, reader):
            while True:
                reader.clear()
                if await until() or self._leaving.is_set():
                    return
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await _pause(reader, min(left, QUIET_S))

    async def _is_there(self, graph_id: str, seq: int, four: str) -> bool:
        """Tell whether the log still has event number *seq*, as it was read."""
        return await adrive(self._client, runs.check_cursor(graph_id, seq, four))

    @asynccontextmanager
    async def _reading(
        self, graph_id: str, quiet_s: float, *, deltas: bool = False
    ) -> AsyncIterator[tuple[Feed, Reader]]:
        channels = [live_channel(graph_id), *([deltas_channel(graph_id)] if deltas else [])]
        feed = self._feeds.get(graph_id)
        if feed is None:
            feed = self._feeds[graph_id] = Feed(graph_id, self._client)
        reader = Reader(quiet_s, deltas=deltas)
        feed.readers.add(reader)
        if self._clock is None:
            self._look()
        try:
            await self._subscriptions.add(*channels)
            yield feed, reader
        finally:
            feed.readers.discard(reader)
            if not feed.readers and self._feeds.get(graph_id) is feed:
                del self._feeds[graph_id]
            await self._subscriptions.remove(*channels)

    def _look(self) -> None:
        """Note the time at all readers: cheaper than a timer of each, each time."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for feed in self._feeds.values():
            for reader in feed.readers:
                reader.look(now)
        self._clock = loop.call_later(LOOK_S, self._look) if self._feeds else None

    def _heard(self, channel: str, said: bytes) -> None:
        feed = self._feeds.get(channel.rpartition(":")[2])
        if feed is None:
            return
        if not channel.startswith(DELTAS_CHANNEL):
            feed.heard = int(said) if said.isdigit() else feed.heard
            feed.hear()
            return
        with suppress(ValueError, KeyError, TypeError):  # others may write there too
            feed.show(Shown.delta(said))

    def _lost(self) -> None:
        for feed in self._feeds.values():
            feed.forget()


async def _pause(reader: Reader, seconds: float) -> None:
    """Wait for something new, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await reader.wait()
