"""Writes of an answer that are made one right after the other, sent as one."""

from __future__ import annotations

import asyncio

HELD_BYTES = 64 * 1024  # that wait at most; who writes more is told by the transport when it is too much


class JoinedWrites:
    """
    The way of an answer to its line: the head waits for the body, as long as nobody has to wait for that.

    A proxy hands on a head as soon as it has it, and then can't ask another host any more: a process that is killed
    between the two leaves an answer without a body. What was written goes out when the event loop's present round
    is over, so the head of a stream does not wait for its first event.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()
            self._size = 0

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
