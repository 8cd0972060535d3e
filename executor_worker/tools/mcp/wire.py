"""JSON-RPC messages as the three transports share them, the fate of a call, and the limit of an answer's size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCRequest, RequestId, jsonrpc_message_adapter

from executor_worker.tools.mcp.encoding import mended

LARGEST_MESSAGE = 64 * 1024 * 1024  # bytes

Incoming = SessionMessage | Exception
Reader = MemoryObjectReceiveStream[Incoming]
Writer = MemoryObjectSendStream[Incoming]


class ConnectionLost(Exception):
    """
    The server went away; says how.

    Args:
        reason: The same for the log, in our own words only.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class Flight:
    """
    The progress of one call; filled in by the transport that carries it.

    Attributes:
        sent: Whether the server may have got any of it.
        status: HTTP status of the answer, None before it came or if there is none.
        progress: How far the server says it has got, of how much in all; None: it did not say.
        result: What the server answered, as it came; None before.
        mended: That was not as the protocol wants it.
    """

    sent: bool = False
    status: int | None = None
    progress: tuple[float, float | None] | None = None
    result: dict[str, Any] | None = None
    mended: bool = False

    async def heard(self, progress: float, total: float | None, message: str | None) -> None:
        """Keep what the server says of its progress: the worker's thread asks when it has time."""
        if math.isfinite(progress):
            self.progress = progress, total if total is not None and math.isfinite(total) else None


# The SDK runs what it sends in the context of who sends it, so a transport finds the call it carries here.
FLIGHT: ContextVar[Flight | None] = ContextVar("FLIGHT", default=None)


def incoming() -> tuple[Writer, Reader]:
    """Make the stream a transport delivers messages on."""
    return anyio.create_memory_object_stream[Incoming](0)


class Closable(ABC):
    """A stream that is closed at the end of its `async with`."""

    @abstractmethod
    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class Outgoing(Closable):
    """The stream the SDK sends on; a transport says in `_transmit` how."""

    def __init__(self) -> None:
        self.last_request: RequestId | None = None

    async def send(self, item: SessionMessage, /) -> None:
        """
        Send one message in the caller's own task.

        Raises:
            anyio.BrokenResourceError: The connection is gone.
        """
        if isinstance(item.message, JSONRPCRequest):
            self.last_request = item.message.id
        await self._transmit(item)

    @abstractmethod
    async def _transmit(self, item: SessionMessage) -> None:
        """Send it; raises `anyio.BrokenResourceError` if the connection is gone."""

    def read(self, data: str | bytes) -> SessionMessage | None:
        """
        Parse what a server sent.

        What can't be parsed answers the last request with an error, as nothing else will; None if
        it can't be an answer, e.g. a line that a server printed by mistake.
        """
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(data, by_name=False))
        except ValueError:
            pass
        try:  # most of what comes is text, and this takes time
            return SessionMessage(jsonrpc_message_adapter.validate_json(mended(_as_bytes(data)), by_name=False))
        except ValueError:
            if self.last_request is None or data.lstrip()[:1] not in ("{", b"{"):
                return None
            error = ErrorData(code=PARSE_ERROR, message="what the server answered is no JSON-RPC message")
            return SessionMessage(JSONRPCError(jsonrpc="2.0", id=self.last_request, error=error))

    async def aclose(self) -> None:
        """Nothing to do: the transport ends with its context."""


def _as_bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")


async def deliver(writer: Writer, message: Incoming) -> None:
    """Hand *message* to the session; dropped when that has ended, so that the server is still read and can end."""
    try:
        await writer.send(message)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return
