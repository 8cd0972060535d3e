"""
One tool of an MCP server: how often a call may be made, and what its failure means.

A call that never left is made again as soon as the server is back. One that was sent and lost is made
again only if the tool declares that this does no harm. Either way it goes to the same server.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import mcp_types as types
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from executor_worker.errors import NodeTimeout, ToolError, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain
from executor_worker.run_context import RunContext
from executor_worker.tools.base import Answer, Effects, OnProgress, unheard, unsure
from executor_worker.tools.event_loop import Loop, ended
from executor_worker.tools.mcp.content import answer_of
from executor_worker.tools.mcp.server import IDEMPOTENCY_KEY, McpServer
from executor_worker.tools.mcp.wire import Flight

_POLL_SECONDS = 0.1
_DROP_SECONDS = 1.0
_LONGEST_MESSAGE = 2000  # characters
_SESSION_UNKNOWN = frozenset({400, 404})
_REFUSED = frozenset({401, 403})
_NOT_NOW = frozenset({429, 503})
_GATEWAY_LOST_IT = frozenset({502, 504})
_NOT_ABOUT_THE_SESSION = frozenset({types.INVALID_PARAMS, types.METHOD_NOT_FOUND})
# What the SDK says when a connection ends; a server may use the same code for an error of its own.
_LOST_MESSAGES = ("Connection closed", "SSE stream")


class _Fate(Enum):
    """The fate of a call that brought no result."""

    NOT_SENT = auto()
    SESSION_UNKNOWN = auto()
    LOST = auto()


class McpTool:
    """See `Tool`; *name* is what it was asked for by, which may have the server's name in front."""

    def __init__(self, server: McpServer, tool: types.Tool, name: str, default_timeout: float, loop: Loop) -> None:
        self.name = name
        self.description = tool.description or tool.title or ""
        self.input_schema = tool.input_schema
        self.effects: Effects | None = server.config.effects_of(tool.name) or _declared(tool)
        self.timeout = server.config.timeout_of(tool.name) or default_timeout
        self.source = f"mcp {server.name}"
        self.surely_fits = unsure
        self.circuits = server.config.circuits_of(tool.name)
        self._server = server
        self._remote_name = tool.name
        self._loop = loop

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        """Call it on its server; see `Tool.call`."""
        run_context.check()
        item_first = run_context.left() <= self.timeout
        deadline = time.monotonic() + min(self.timeout, run_context.left())
        lost = renewed = False
        meta = {IDEMPOTENCY_KEY: key, **run_context.tracing.headers}
        while True:
            client = self._connected(deadline, run_context, lost)
            flight = Flight()
            future = self._loop.run(self._server.call, client, flight, self._remote_name, arguments, meta)
            if not ended(future, deadline, run_context, _passed_on(flight, on_progress)):
                raise self._overdue(item_first)
            fate = self._outcome(future, flight)
            if isinstance(fate, Answer):
                return fate
            if fate is _Fate.SESSION_UNKNOWN and renewed:
                raise ToolFailed(f"MCP server {self._server.name} refuses its own new session (HTTP {flight.status})")
            if fate is _Fate.LOST and (lost or self.effects not in ("none", "idempotent")):
                raise self._uncertain()
            lost = lost or fate is _Fate.LOST
            renewed = renewed or fate is _Fate.SESSION_UNKNOWN
            # Waited for, so that the next turn does not take the same connection again.
            concurrent.futures.wait([self._loop.run(self._server.drop, client)], _DROP_SECONDS)

    def _connected(self, deadline: float, run_context: RunContext, lost: bool) -> Client:
        """Wait until the server can be called, for as long as connecting may take."""
        limit = min(deadline, time.monotonic() + self._server.config.target.connect_seconds)
        while True:
            client = self._server.client
            if client is not None:
                return client
            if time.monotonic() >= limit:
                break
            run_context.check()
            self._loop.run(self._server.hurry)
            with self._server.changed:
                if self._server.client is None:
                    self._server.changed.wait(_POLL_SECONDS)
        if lost:
            raise self._uncertain()
        raise ToolUnavailable(f"MCP server {self._server.name} can't be reached: {self._server.problem}")

    def _outcome(self, future: concurrent.futures.Future[types.CallToolResult], flight: Flight) -> Answer | _Fate:
        try:
            return self._answer(future.result(), flight)
        except concurrent.futures.CancelledError:  # the loop was closed under it
            return _Fate.LOST if flight.sent else _Fate.NOT_SENT
        except MCPError as error:
            return self._protocol_error(error, flight)
        except ToolError:
            raise
        except Exception as error:
            if not flight.sent and self._server.client is None:
                return _Fate.NOT_SENT
            raise ToolFailed(f"MCP server {self._server.name}: {_sentence(error)}") from error

    def _answer(self, result: types.CallToolResult, flight: Flight) -> Answer:
        """Read *result*: the tool has done its work, so one that breaks its server's own word is not lost."""
        schema = self._server.outputs.get(self._remote_name)
        problem = schema.problem(result) if schema is not None else ""
        if problem or flight.mended:
            self._server.report_result(self._remote_name, problem or "it is not as the protocol wants it")
        return answer_of(result, trust_structure=not problem)

    def _protocol_error(self, error: MCPError, flight: Flight) -> _Fate:
        status = flight.status
        if status in _SESSION_UNKNOWN and error.code not in _NOT_ABOUT_THE_SESSION:
            return _Fate.SESSION_UNKNOWN
        if status in _REFUSED:
            raise ToolFailed(f"MCP server {self._server.name} refused the call (HTTP {status}): check its credentials")
        if status in _NOT_NOW:
            raise ToolUnavailable(f"MCP server {self._server.name} takes no calls now (HTTP {status})")
        if status in _GATEWAY_LOST_IT or _is_loss(error):
            return _Fate.LOST if flight.sent else _Fate.NOT_SENT
        if error.code in _NOT_ABOUT_THE_SESSION:
            self._loop.run(self._server.list_again)  # it may have changed its tools and not said so
        http = f"HTTP {status}, " if status is not None and status >= 400 else ""
        said = error.message[:_LONGEST_MESSAGE]
        raise ToolFailed(f"MCP server {self._server.name}: {said} ({http}code {error.code})")

    def _overdue(self, item_first: bool) -> NodeTimeout | ToolTimeout:
        if item_first:
            return NodeTimeout(f"the node's time is up in tool {self.name}")
        return ToolTimeout(f"tool {self.name} gave no answer within {self.timeout:g} s")

    def _uncertain(self) -> ToolUncertain:
        return ToolUncertain(
            f"the connection to MCP server {self._server.name} was lost while tool {self.name} was being called: "
            "it may have done its work"
        )


def _passed_on(flight: Flight, on_progress: OnProgress) -> Callable[[], None]:
    """Tell of the call's progress in the thread that waits for it."""
    told: tuple[float, float | None] | None = None

    def tell() -> None:
        nonlocal told
        if flight.progress is not None and flight.progress != told:
            told = flight.progress
            on_progress(*told)

    return tell


def _is_loss(error: MCPError) -> bool:
    return error.code == types.CONNECTION_CLOSED and error.message.startswith(_LOST_MESSAGES)


def _declared(tool: types.Tool) -> Effects | None:
    hints = tool.annotations
    if hints is None:
        return None
    if hints.read_only_hint:
        return "none"
    return "idempotent" if hints.idempotent_hint else None


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "what it answered is no tool result"
    lines = str(error).splitlines()
    return lines[0][:_LONGEST_MESSAGE] if lines else type(error).__name__
