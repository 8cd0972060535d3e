"""One connection that many callers share: what they ask goes out together, and replies find their way back in order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from executor_worker.errors import StreamUnavailable


class Connection(Protocol):
    """The part of redis-py's connection that is used here."""

    socket_timeout: float | None

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...
    async def send_packed_command(self, command: bytes, check_health: bool = ...) -> None: ...
    def read_response(self, *, timeout: float, disconnect_on_error: bool) -> Awaitable[Any]: ...


class _Batch:
    """Commands of one caller, and their replies so far."""

    __slots__ = ("asked_at", "count", "done", "replies")

    def __init__(self, count: int, asked_at: float, done: asyncio.Future[list[Any]]) -> None:
        self.count = count
        self.asked_at = asked_at
        self.done = done
        self.replies: list[Any] = []


class SharedLine:
    """
    Commands of all callers in the order in which they came; none of them may block.

    Args:
        refused: The exceptions that are error replies, of one command alone.
        useless: Tells of an error reply that this server can't serve us: the connection is made anew.
        timeout_s: For each reply.

    Attributes:
        lost: It is of no use any more.
    """

    def __init__(
        self, connection: Connection, refused: type[Exception], useless: Callable[[Any], bool], timeout_s: float
    ) -> None:
        self._connection = connection
        self._refused = refused
        self._useless = useless
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Batch] = deque()
        self._unsent: list[bytes] = []
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching = False
        self.lost = False

    async def open(self) -> None:
        """Connect; what goes wrong is raised as the connection does."""
        await self._connection.connect()
        self._connection.socket_timeout = None  # `_watch` takes care: a timer each time costs more than a reply
        self._tasks = [asyncio.create_task(self._kept(self._write)), asyncio.create_task(self._kept(self._read))]

    @property
    def unanswered(self) -> int:
        return len(self._waiting)

    def ask(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        """
        Send *count* commands; the future has their replies, those that are errors as exceptions.

        It raises `StreamUnavailable` if there is no reply.
        """
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiting.append(_Batch(count, self._loop.time(), done))
        self._unsent.append(packed)
        self._something.set()
        if not self._watching:
            self._watching = True
            self._loop.call_later(self._timeout_s, self._watch)
        return done

    async def close(self) -> None:
        """Hang up."""
        self._give_up(StreamUnavailable("the connection was closed"))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            packed, self._unsent = b"".join(self._unsent), []
            await self._connection.send_packed_command(packed, check_health=False)

    async def _read(self) -> None:
        while True:
            reply = await self._reply()
            batch = self._waiting[0]
            batch.replies.append(reply)
            if len(batch.replies) == batch.count:
                self._waiting.popleft()
                if not batch.done.done():  # else its caller has gone
                    batch.done.set_result(batch.replies)
            if isinstance(reply, Exception) and self._useless(reply):
                raise reply

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except self._refused as error:
            return error

    async def _kept(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* until the connection is lost."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, callers are told and the next one connects anew
            self._give_up(StreamUnavailable(f"Redis does not answer: {error}"))
        finally:
            await self._connection.disconnect(nowait=True)

    def _watch(self) -> None:
        """Give up where the oldest reply has been awaited for too long."""
        self._watching = False
        if not self._waiting or self.lost:
            return
        left_s = self._waiting[0].asked_at + self._timeout_s - self._loop.time()
        if left_s <= 0:
            self._give_up(StreamUnavailable(f"Redis does not answer within {self._timeout_s:g} s"))
        else:
            self._watching = True
            self._loop.call_later(left_s, self._watch)

    def _give_up(self, error: StreamUnavailable) -> None:
        self.lost = True
        while self._waiting:
            done = self._waiting.popleft().done
            if not done.done():
                done.set_exception(error)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
