"""
Between a transport and the SDK's session: what servers answer is mended here before the SDK, which is strict, sees it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import mcp_types as types
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, JSONRPCResponse, RequestId
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError

from executor_worker.tools.mcp.listing import LeftOut, mended_page
from executor_worker.tools.mcp.wire import FLIGHT, Closable, Flight, Incoming

_LIST, _CALL = "tools/list", "tools/call"


class Lenient:
    """
    Watches one connection.

    Attributes:
        version: The protocol's, once it is negotiated.
        output_schemas: By tool, of the list that was begun last; the SDK does not get to see them.
        left_out: Tools of that list that can't be used.
    """

    def __init__(self) -> None:
        self.version = HANDSHAKE_PROTOCOL_VERSIONS[-1]
        self.begin_list()
        self._lists: set[RequestId] = set()
        self._calls: dict[RequestId, Flight] = {}
        self._cursors: dict[str, Any] = {}  # those that were no text, by the text they were made

    def begin_list(self) -> None:
        """Forget what was listed before."""
        self.output_schemas: dict[str, dict[str, Any]] = {}
        self.left_out: list[LeftOut] = []

    @asynccontextmanager
    async def over(self, transport: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        """Make a transport of *transport* whose messages pass through here."""
        async with transport as (reader, writer):
            yield _Reader(reader, self.received), _Writer(writer, self.sent)

    def sent(self, item: SessionMessage) -> SessionMessage:
        message = item.message
        if not isinstance(message, JSONRPCRequest):
            return item
        if message.method == _LIST:
            self._lists.add(message.id)
            cursor = (message.params or {}).get("cursor")
            if cursor in self._cursors:
                params = {**(message.params or {}), "cursor": self._cursors[cursor]}
                return SessionMessage(message.model_copy(update={"params": params}), item.metadata)
        elif message.method == _CALL and (flight := FLIGHT.get()) is not None:
            self._calls[message.id] = flight
        return item

    def received(self, item: Incoming) -> Incoming:
        if isinstance(item, Exception) or not isinstance(item.message, JSONRPCResponse):
            return item
        message = item.message
        flight = self._calls.pop(message.id, None)
        if flight is not None:
            flight.result = message.result
        if message.id not in self._lists:
            return item
        self._lists.discard(message.id)
        return SessionMessage(message.model_copy(update={"result": self._listed(message.result)}), item.metadata)

    def _listed(self, result: dict[str, Any]) -> dict[str, Any]:
        page = mended_page(result, self.version)
        if "nextCursor" in page.result and page.result["nextCursor"] != result.get("nextCursor"):
            self._cursors[page.result["nextCursor"]] = result["nextCursor"]
        self.output_schemas |= page.output_schemas
        self.left_out += page.left_out
        return page.result


def mended_result(result: dict[str, Any]) -> types.CallToolResult:
    """
    Read a result of `tools/call` that breaks the protocol: its work is done, so whatever can be read counts.

    Raises:
        ValidationError: Nothing of it can be.
    """
    mended = {**result, "content": result.get("content") or []}
    if not isinstance(mended["content"], list):
        return types.CallToolResult.model_validate(result, by_name=False)
    mended["content"] = [_block(block) for block in mended["content"]]
    try:
        return types.CallToolResult.model_validate(mended, by_name=False)
    except ValidationError:
        kept = {"content": mended["content"], "isError": bool(result.get("isError"))}
        if "structuredContent" in result:
            kept["structuredContent"] = result["structuredContent"]
        return types.CallToolResult.model_validate(kept, by_name=False)


def _block(block: Any) -> Any:
    """Keep a block that can be read; of another, what it holds as text."""
    try:
        types.CallToolResult.model_validate({"content": [block]}, by_name=False)
    except ValidationError:
        return {"type": "text", "text": block if isinstance(block, str) else json.dumps(block, ensure_ascii=False)}
    return block


class _Reader(Closable):
    def __init__(self, inner: Any, mend: Callable[[Incoming], Incoming]) -> None:
        self._inner = inner
        self._mend = mend

    @property
    def last_context(self) -> Any:
        """The sender's, of the last message; the SDK asks for it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Incoming:
        return self._mend(await self._inner.receive())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Incoming:
        return self._mend(await self._inner.__anext__())

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Writer(Closable):
    def __init__(self, inner: Any, note: Callable[[SessionMessage], SessionMessage]) -> None:
        self._inner = inner
        self._note = note

    async def send(self, item: SessionMessage, /) -> None:
        await self._inner.send(self._note(item))

    async def aclose(self) -> None:
        await self._inner.aclose()
