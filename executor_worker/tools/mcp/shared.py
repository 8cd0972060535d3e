"""MCP to a server that the whole pool shares, over the local socket of its host (`tools.sharing`)."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.jsonrpc import JSONRPCError

from executor_worker.tools.mcp.wire import (
    FLIGHT,
    LARGEST_MESSAGE,
    ConnectionLost,
    Flight,
    Outgoing,
    Writer,
    deliver,
    incoming,
)
from executor_worker.tools.sharing.host import ENDED

_CHUNK = 1 << 18  # bytes
_FULL_SECONDS = 0.05  # between attempts while more workers connect than the host takes


@asynccontextmanager
async def shared(name: str, command: str, address: bytes | str) -> AsyncIterator[Any]:
    """
    Connect to the server *name* by its host at *address*.

    Raises:
        ConnectionLost: It has ended, or can't be started.
    """
    line = await _connect(address)
    try:
        outgoing = _Socket(line)
        await outgoing.write(json.dumps({"server": name, "command": command}).encode() + b"\n")
        lines = _lines(line)
        outgoing.word = _word(await anext(lines, b""))
        writer, reader = incoming()
        async with writer, reader, anyio.create_task_group() as tasks:
            tasks.start_soon(_receive, lines, outgoing, writer)
            yield reader, outgoing
            tasks.cancel_scope.cancel()
    finally:
        anyio.notify_closing(line)
        line.close()


class _Socket(Outgoing):
    """
    Attributes:
        word: What our ids begin with on the way, as no other connection's do.
    """

    def __init__(self, line: socket.socket) -> None:
        super().__init__()
        self.word = ""
        self.flights: dict[str, Flight] = {}
        self._line = line
        self._unsent = bytearray()  # outlives a cancelled send: half a line would spoil the next one
        self._turn = anyio.Lock()

    async def _transmit(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            message = message.model_copy(update={"id": self._ours(message.id), **self._params(message.params)})
            flight = FLIGHT.get()
            if flight is not None:
                flight.sent = True
                self.flights[str(message.id)] = flight
                try:
                    await self._send(message)
                except anyio.BrokenResourceError:
                    flight.sent = False  # the host can't have read the whole line
                    raise
                return
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            params = message.params or {}
            changed = {**params, "requestId": self._ours(params.get("requestId"))}
            message = message.model_copy(update={"params": changed})
        await self._send(message)

    async def _send(self, message: Any) -> None:
        await self.write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    def _ours(self, ident: Any) -> str:
        return f"{self.word}:{ident}"

    def _params(self, params: dict[str, Any] | None) -> dict[str, Any]:
        """Change the progress token, if there is one, as the ids are changed."""
        meta = (params or {}).get("_meta")
        if params is None or not isinstance(meta, dict) or "progressToken" not in meta:
            return {}
        return {"params": {**params, "_meta": {**meta, "progressToken": self._ours(meta["progressToken"])}}}

    async def write(self, data: bytes) -> None:
        async with self._turn:
            self._unsent += data
            try:
                while self._unsent:
                    try:
                        sent = self._line.send(self._unsent[:_CHUNK])
                        del self._unsent[:sent]
                    except BlockingIOError:
                        await anyio.wait_writable(self._line)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    def read(self, data: str | bytes) -> SessionMessage | None:
        item = super().read(data)
        message = item.message if item is not None else None
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self.flights.pop(str(message.id), None)
            return SessionMessage(message.model_copy(update={"id": self._theirs(message.id)}))
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/progress":
            params = {**(message.params or {})}
            params["progressToken"] = self._theirs(params.get("progressToken"))
            return SessionMessage(message.model_copy(update={"params": params}))
        return item

    def _theirs(self, ident: Any) -> Any:
        """Turn an id of ours back into the one that the session has given: those are numbers."""
        text = str(ident).removeprefix(f"{self.word}:")
        return int(text) if text.isdigit() else text if isinstance(ident, str) else ident


async def _connect(address: bytes | str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.setblocking(False)
    try:
        while True:
            try:
                line.connect(address)
                return line
            except BlockingIOError:
                await anyio.sleep(_FULL_SECONDS)
    except OSError as error:
        line.close()
        said = os.strerror(error.errno or errno.ENOENT)
        raise ConnectionLost(f"the pool's host of shared servers can't be reached: {said}", "no host") from error
    except BaseException:
        line.close()
        raise


def _word(hello: bytes) -> str:
    said = json.loads(hello) if hello else {}
    if said.get("method") == ENDED:
        raise _end_said(said)
    if "word" not in said:
        raise ConnectionLost("the pool's host of shared servers has ended", "no host")
    return str(said["word"])


def _end_said(said: dict[str, Any]) -> ConnectionLost:
    return ConnectionLost(said["params"]["problem"], said["params"]["reason"])


async def _receive(lines: AsyncIterator[bytes], outgoing: _Socket, writer: Writer) -> None:
    async for line in lines:
        if ENDED.encode() in line[:64]:
            said = json.loads(line)
            for ident, flight in outgoing.flights.items():
                flight.sent = ident in said["params"]["got"]
            raise _end_said(said)
        message = outgoing.read(line)
        if message is not None:
            await deliver(writer, message)
    raise ConnectionLost("the pool's host of shared servers has ended", "no host")


async def _lines(line: socket.socket) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    size = 0
    while True:
        try:
            chunk = line.recv(_CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(line)
            continue
        except OSError:
            return
        if not chunk:
            return
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join((*held, end))
            held, size = [], 0
        held.append(rest)
        size += len(rest)
        if size > LARGEST_MESSAGE:
            problem = f"the server sent a message of over {LARGEST_MESSAGE >> 20} MiB"
            raise ConnectionLost(problem, problem)
