"""A model server that counts: chat completions, each taking a while, and how many are in flight."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress

ANSWER = json.dumps({"choices": [{"message": {"content": "ok"}}]}).encode()


class CountingModel:
    """
    Attributes:
        most: The most requests that were ever in flight at once.
        by_model: The same by model.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.most = 0
        self.by_model: dict[str, int] = {}
        self.answered = 0
        self._flying: dict[str, int] = {}
        self._lines: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._end.wait()
            for listener in server.sockets:
                self._loop.remove_reader(listener.fileno())
            for _ in range(5):  # what was accepted becomes a line: its server must not be closed before
                await asyncio.sleep(0)
            server.close()
            for line in list(self._lines):
                line.transport.abort()
            while self._lines:
                await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")
                )
                body = json.loads(await reader.readexactly(length))
                await self._answer(body["model"], reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self._lines.discard(writer)

    async def _answer(self, model: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._flying[model] = self._flying.get(model, 0) + 1
        self.by_model[model] = max(self.by_model.get(model, 0), self._flying[model])
        self.most = max(self.most, sum(self._flying.values()))
        gone = asyncio.ensure_future(reader.read(1))  # the caller was killed: its line is closed
        try:
            done, _ = await asyncio.wait({gone}, timeout=self._seconds)
            if done:
                raise ConnectionResetError
        finally:
            self._flying[model] -= 1
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
        self.answered += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER))
        writer.write(ANSWER)
        await writer.drain()
