"""MCP servers that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tests.kit.counterparts import PATHS, need, node_command
from tests.kit.processes import Process
from tests.kit.waiting import free_port, port_answers, wait_until

Transport = Literal["streamableHttp", "sse"]


def everything_stdio() -> dict[str, Any]:
    """An entry of MCP_CONFIG's `mcpServers`: `server-everything` over stdio."""
    command, *arguments = node_command("everything")
    return {"command": command, "args": [*arguments, "stdio"]}


def time_stdio() -> dict[str, Any]:
    """An entry of MCP_CONFIG's `mcpServers`: `mcp-server-time` over stdio (`get_current_time`, `convert_time`)."""
    need("mcp-time")
    return {"command": str(PATHS["mcp-time"]), "args": ["--local-timezone", "Europe/Berlin"]}


class EverythingServer:
    """`server-everything` over HTTP, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, transport: Transport = "streamableHttp") -> None:
        self.folder = folder
        self.transport = transport
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/{'sse' if transport == 'sse' else 'mcp'}"
        self._process: Process | None = None
        self.start()

    @property
    def process(self) -> Process:
        assert self._process is not None, "the server is not running"
        return self._process

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            command = [*node_command("everything"), self.transport]
            self._process = Process(command, env={"PORT": str(self.port)}, stdout=log, stderr=log)
        wait_until(lambda: port_answers(self.port), 20, f"server-everything listens; its log: {self.folder / 'log'}")

    def kill(self) -> None:
        """End it as a crash would; its sessions are lost."""
        self.process.kill()

    def restart(self) -> None:
        """End it and start it again on the same port."""
        self.kill()
        self.start()

    def close(self) -> None:
        """End it for good."""
        if self._process is not None:
            self._process.kill()
