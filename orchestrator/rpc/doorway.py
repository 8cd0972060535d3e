"""
gRPC's port until the first client comes: only then is the library loaded, which weighs as much as all the rest.

What comes while it is loaded is accepted here and handed on byte by byte; from then on the server has the port itself.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

SERVER = "orchestrator.rpc.server"
PART_BYTES = 64 * 1024


class Server(Protocol):
    """The part of gRPC's server that is used here."""

    async def start(self) -> None: ...
    async def stop(self, grace: float | None) -> None: ...


class Doorway:
    """
    Args:
        build: Makes the server, not started yet, of the module that is loaded late.
    """

    def __init__(self, host: str, port: int, build: Callable[[Any], Server]) -> None:
        self._host = host
        self._port = port
        self._build = build
        self._door: asyncio.Server | None = None
        self._server: Server | None = None
        self._starting: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Listen, beside other processes that do."""
        kind = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        door = socket.socket(kind)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        door.bind((self._host, self._port))
        self._door = await asyncio.start_server(self._come, sock=door, limit=PART_BYTES)

    async def close(self, seconds: float) -> None:
        """Let calls end for so long, and stop."""
        if self._door is not None:
            self._door.close()
        if self._starting is not None:
            await asyncio.wait({self._starting})
        if self._server is not None:
            await self._server.stop(seconds)

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand a connection on that came before the server was there."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)
        with suppress(OSError):
            there, on = await asyncio.open_connection(self._host, self._port, limit=PART_BYTES)
            await asyncio.gather(_copy(reader, on), _copy(there, writer))
        writer.close()

    async def _start(self) -> None:
        # In a thread: what is asked over HTTP meanwhile is answered.
        module = await asyncio.to_thread(importlib.import_module, SERVER)
        server = self._build(module)
        await server.start()
        self._server = server
        assert self._door is not None, "it is not open"
        self._door.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await source.read(PART_BYTES):
            sink.write(part)
            await sink.drain()
    sink.close()
