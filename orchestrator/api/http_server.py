"""HTTP's server in an API process, which ends without losing what it has accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from orchestrator.api import http_protocol
from orchestrator.api.http_protocol import Lines

LOOK_S = 0.01


class HttpServer(uvicorn.Server):
    """
    Leaves signals to the process, and its socket to all who listen on it too.

    What it has not accepted when it leaves waits for them in the kernel.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = self.lines = Lines()

    def leave(self) -> None:
        """Accept nothing more, and begin to end."""
        self.should_exit = True
        if self.started:
            for server in self.servers:
                server.close()

    def hurry(self) -> None:
        """Answer nothing more, and end."""
        self.leave()
        self.force_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is accepted, for as long as the configuration says."""
        self.lines.leave()
        loop = asyncio.get_running_loop()
        ends = loop.time() + http_protocol.FIRST_S
        while self.lines.coming and loop.time() < ends and not self.force_exit:
            await asyncio.sleep(LOOK_S)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
