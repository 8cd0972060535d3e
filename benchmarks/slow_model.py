"""A model server in a process of its own that answers each Messages request after a fixed time, as one stream."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

import httpx2

from benchmarks.stage import ROOT
from tests.kit import Process, free_port, port_answers, wait_until

USAGE = {"input_tokens": 10, "output_tokens": 1}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": USAGE}
EVENTS = (
    {"type": "message_start", "message": {**MESSAGE, "stop_reason": None, "stop_sequence": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "done"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USAGE},
    {"type": "message_stop"},
)
BODY = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


class SlowModel:
    """
    A running server.

    Attributes:
        env: The settings that lead a pool here.
    """

    def __init__(self, seconds: float) -> None:
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        self.env = {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": url, "LLM_API_KEY": "test-key"}
        command = [sys.executable, "-m", "benchmarks.slow_model", str(self.port), str(seconds)]
        self._process = Process(command, cwd=ROOT)
        self._http = httpx2.Client(base_url=url)
        wait_until(lambda: port_answers(self.port), 20, "the model server listens")

    def calls(self) -> list[tuple[str, float, float]]:
        """All calls so far: what was asked, when it came and when it was answered (0: not yet), monotonic seconds."""
        return [tuple(call) for call in self._http.get("/calls").json()]

    def close(self) -> None:
        self._http.close()
        self._process.kill()


class _Server:
    """Speaks just enough HTTP for clients that keep their connections."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: list[list[str | float]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head, await reader.readexactly(_length(head))))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET"):
            told = json.dumps(self._calls).encode()
            return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(told) + told
        call: list[str | float] = [_asked(json.loads(body)), time.monotonic(), 0.0]
        self._calls.append(call)
        await asyncio.sleep(self._seconds)
        call[2] = time.monotonic()
        return HEAD + BODY


def _asked(request: dict[str, list[dict[str, object]]]) -> str:
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])  # type: ignore[index]  # blocks of text


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def flying(calls: list[tuple[str, float, float]], begin: float, end: float) -> float:
    """Average the calls in flight between *begin* and *end*."""
    inside = sum(max(min(until or end, end) - max(since, begin), 0.0) for _, since, until in calls)
    return inside / (end - begin)


def repeated(calls: list[tuple[str, float, float]]) -> int:
    """Count those that were asked more than once."""
    return sum(count > 1 for count in Counter(asked for asked, _, _ in calls).values())


async def main(port: int, seconds: float) -> None:
    server = await asyncio.start_server(_Server(seconds).serve, "127.0.0.1", port, backlog=1024, limit=2**22)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
