"""
One MCP server: a task that owns its connection and keeps it open, across items and the server's restarts.

The task runs in the tools' event loop; the worker's thread reads `tools` and `problem`, and waits on `changed`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import mcp_types as types
from mcp.client import Client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from executor_worker.tools.base import Log
from executor_worker.tools.mcp.catalogue import End, Listing, describe, list_tools
from executor_worker.tools.mcp.http import sse, streamable_http
from executor_worker.tools.mcp.lenient import Lenient, mended_result
from executor_worker.tools.mcp.listing import LeftOut
from executor_worker.tools.mcp.output_schema import OutputSchema
from executor_worker.tools.mcp.stdio import stdio
from executor_worker.tools.mcp.ways import Way, end_of_all, may_be_another, ways_to
from executor_worker.tools.mcp.wire import FLIGHT, Flight
from executor_worker.tools.mcp_config import Local, Remote, ServerConfig

IDEMPOTENCY_KEY = "dago/idempotency-key"  # in a call's `_meta`

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_URGENT_DELAY_SECONDS = 0.2  # between attempts while a caller waits
_LEAVE_SECONDS = 1.0
_LIST_SECONDS = 10.0
_LISTEN_AGAIN_SECONDS = 5.0


class McpServer:
    """
    Attributes:
        tools: By name, as last listed; None: never reached.
        outputs: What the results of those tools are like that the server says it of.
        left_out: Those it has listed in a way that can't be used.
        problem: Why it can't be reached now; empty while it can.
        changed: Notified when any of these changes, and after each attempt to connect.
        attempts: Ended attempts to connect.
        listings: How often its tools were listed.
    """

    def __init__(
        self,
        config: ServerConfig,
        environ: Mapping[str, str],
        log: Log,
        listed: Callable[[str, Iterable[str]], None] = lambda _name, _tools: None,
        host: bytes | str | None = None,
        reached: Callable[[bool], None] = lambda _up: None,
    ) -> None:
        """
        Args:
            host: Address of the pool's host of shared servers; None: there is none, each server is our own.
            listed: Is told the names of its tools, each time they are listed.
            reached: Is told whether it could be reached, after each attempt, and when a connection ends.
        """
        self.config = config
        self.name = config.name
        self.tools: dict[str, types.Tool] | None = None
        self.outputs: dict[str, OutputSchema] = {}
        self.left_out: list[LeftOut] = []
        self.problem = "not tried yet"
        self.changed = threading.Condition()
        self.attempts = 0
        self.listings = 0
        self.described = ""
        self._environ = environ
        self._log = log
        self._listed = listed
        self._host = host
        self._reached = reached
        self._client: Client | None = None
        self._ways = ways_to(config.target, hosted=host is not None)
        self._statuses: list[int] = []
        self._told = ""  # the reason last logged
        self._leaving: bool = False
        self._stale = False
        self._drop = False
        self._attempt: anyio.CancelScope | None = None
        self._wake = anyio.Event()
        self._urgent = anyio.Event()

    # What follows runs in the event loop.

    async def own(self) -> None:
        """Connect, stay connected, connect again with growing delays; until told to leave."""
        delay = _FIRST_DELAY_SECONDS
        while not self._is_leaving():
            began, listings = time.monotonic(), self.listings
            end = await self._one_connection()
            if self._is_leaving():
                break
            self._note_down(end, time.monotonic() - began)
            if self._drop:
                continue
            if self.listings > listings:
                delay = _FIRST_DELAY_SECONDS
            await self._pause(delay)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    def _is_leaving(self) -> bool:
        return self._leaving  # asked anew after each wait

    async def leave(self) -> None:
        self._leaving = True
        self._wake.set()
        self._urgent.set()
        if self._attempt is not None and self._client is None:
            self._attempt.cancel()

    async def hurry(self) -> None:
        """Connect now rather than after the delay: a caller waits."""
        self._urgent.set()

    async def drop(self, client: Client) -> None:
        """Connect anew, unless that has happened: the server does not know this session any more."""
        if self._client is client:
            self._client = None
            self._drop = True
            self._wake.set()

    async def list_again(self) -> None:
        self._stale = True
        self._wake.set()

    async def call(
        self, client: Client, flight: Flight, name: str, arguments: dict[str, Any], meta: Any
    ) -> types.CallToolResult:
        """Call a tool once over *client*; *flight* tells how far that got when it raises."""
        FLIGHT.set(flight)
        try:
            return await client.call_tool(name, arguments, progress_callback=flight.heard, meta=meta)
        except ValidationError:
            if flight.result is None:
                raise
            flight.mended = True
            return mended_result(flight.result)

    async def _pause(self, seconds: float) -> None:
        self._urgent = anyio.Event()
        await anyio.sleep(min(_URGENT_DELAY_SECONDS, seconds))
        with anyio.move_on_after(seconds - _URGENT_DELAY_SECONDS):
            await self._urgent.wait()

    async def _one_connection(self) -> End:
        """Connect and stay for as long as it lasts; returns what ended it."""
        self._drop = False
        listings = self.listings
        tried: list[tuple[Way, End]] = []
        for way in self._ways:
            if tried and not may_be_another(way, tried[-1][1], self._last_status()):
                continue
            self._statuses.clear()
            end = await self._by(way)
            if self.listings > listings or self._is_leaving():
                return end
            tried.append((way, end))
        return end_of_all(tried)

    def _last_status(self) -> int | None:
        return self._statuses[-1] if self._statuses else None

    async def _by(self, way: Way) -> End:
        try:
            return await self._through(way)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, as itself or in groups
            return describe(error, self._last_status())

    async def _through(self, way: Way) -> End:
        connected = False
        with anyio.move_on_after(way.target.connect_seconds) as limit:
            self._attempt = limit
            lenient = Lenient()
            transport = lenient.over(self._transport(way))
            client = Client(transport, cache=None, message_handler=self._hear, client_info=_OURSELVES)
            async with client:
                listing = await list_tools(client, lenient)
                limit.deadline = math.inf
                connected = True
                self._note_up(client, listing, way)
                try:
                    await self._stay(client, lenient)
                finally:
                    self._client = None
                    limit.deadline = anyio.current_time() + _LEAVE_SECONDS + _leave_seconds(way.target)
        said = "the connection was closed" if connected else f"no answer within {way.target.connect_seconds:g} s"
        return End(said, said)

    def _transport(self, way: Way) -> AbstractAsyncContextManager[Any]:
        if isinstance(way.target, Local):
            if way.hosted and self._host is not None:
                from executor_worker.tools.mcp.shared import shared  # what it needs, Windows has not got

                return shared(self.name, way.target.command, self._host)
            return stdio(way.target, self._environ, self._heard_stderr)
        return (sse if way.by_sse else streamable_http)(way.target, self._statuses.append)

    async def _stay(self, client: Client, lenient: Lenient) -> None:
        async with anyio.create_task_group() as tasks:
            if _announces_changes(client):
                tasks.start_soon(self._listen, client)
            while not self._leaving and not self._drop:
                self._wake = anyio.Event()
                if self._stale:
                    self._stale = False
                    await self._relist(client, lenient)
                else:
                    await self._wake.wait()
            tasks.cancel_scope.cancel()

    async def _relist(self, client: Client, lenient: Lenient) -> None:
        try:
            with anyio.fail_after(_LIST_SECONDS):
                listing = await list_tools(client, lenient)
        except TimeoutError:
            self._log("warn", "mcp.list_failed", server=self.name, reason="no answer")
        except MCPError as error:
            self._drop = True  # its session may be gone; connecting lists again
            self._log("debug", "mcp.list_failed", server=self.name, code=error.code)
        else:
            self._note_tools(listing)

    async def _listen(self, client: Client) -> None:
        """Hear of changed tools, as servers since 2026-07-28 tell them to those who ask."""
        while True:
            heard = False
            try:
                async with client.listen(tools_list_changed=True) as subscription:
                    heard = True
                    await self.list_again()  # of what has changed since the last list nobody was told
                    async for _ in subscription:
                        await self.list_again()
            except (MCPError, ListenNotSupportedError):
                return
            except (SubscriptionLost, TimeoutError):
                self._log("debug", "mcp.subscription_lost", server=self.name)
            await anyio.sleep(_LISTEN_AGAIN_SECONDS)
            if not heard:
                await self.list_again()

    async def _hear(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            await self.list_again()

    def _heard_stderr(self, line: str) -> None:
        self._log("debug", "mcp.stderr", server=self.name, line=line)

    # What the worker's thread sees.

    @property
    def client(self) -> Client | None:
        """The connection; None while there is none."""
        return self._client

    @property
    def was_reached(self) -> bool:
        return self.tools is not None

    @property
    def is_settled(self) -> bool:
        """Tell whether it is known by now if the server can be reached."""
        return self._client is not None or self.attempts > 0

    def report_result(self, tool: str, problem: str) -> None:
        """Warn of a result that is not as the server has said that it would be."""
        self._log("warn", "mcp.result_invalid", server=self.name, tool=tool, problem=problem)

    def _note_up(self, client: Client, listing: Listing, way: Way) -> None:
        self._ways = [way]  # the one that spoke is kept
        self.described = f"{way}, protocol {client.protocol_version}"
        self._note_tools(listing)  # before it counts as settled: who waits for that looks at them at once
        with self.changed:
            self._client = client
            self.problem = self._told = ""
            self.changed.notify_all()
        self._reached(True)
        at = {"at": way.at} if way.at else {}
        self._log("info", "mcp.connected", server=self.name, transport=way.transport, tools=len(self.tools or ()), **at)

    def _note_tools(self, listing: Listing) -> None:
        offers = self.config.offers
        left_out = [one for one in dict.fromkeys(listing.left_out) if offers(one.tool)]
        news = [one for one in left_out if one not in self.left_out]
        with self.changed:
            self.tools = {name: tool for name, tool in listing.tools.items() if offers(name)}
            self.outputs = listing.outputs
            self.left_out = left_out
            self.listings += 1
            self.changed.notify_all()
        self._listed(self.name, self.tools)
        for one in news:
            self._log("warn", "mcp.tool_left_out", server=self.name, tool=one.tool, reason=one.reason)

    def _note_down(self, end: End, seconds: float) -> None:
        with self.changed:
            self.attempts += 1
            self.problem = end.problem
            self.changed.notify_all()
        self._reached(False)
        # Once for each reason: while a caller waits, it is tried five times a second.
        level, self._told = "debug" if end.reason == self._told else "warn", end.reason
        self._log(level, "mcp.disconnected", server=self.name, reason=end.reason, after_s=round(seconds, 1))
        # What it said itself stays out of the log: `check` and the failing item show it.
        self._log("debug", "mcp.problem", server=self.name, problem=end.problem)


def _announces_changes(client: Client) -> bool:
    tools = client.server_capabilities.tools
    modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
    return modern and tools is not None and bool(tools.list_changed)


def _leave_seconds(target: Remote | Local) -> float:
    return 0.0 if isinstance(target, Remote) else 3.0


_OURSELVES = types.Implementation(name="da-node-executor", version="1")
