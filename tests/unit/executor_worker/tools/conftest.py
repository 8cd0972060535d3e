"""Fixtures: registries that are closed again, servers of our own, and a log that can be read."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry, ToolSettings
from tests.kit import free_port, port_answers, wait_until
from tests.kit.paths import SERVERS
from tests.kit.processes import Process


class Log(list[tuple[str, str, dict[str, Any]]]):
    """What was logged: level, event, fields."""

    def __call__(self, level: str, event: str, /, **fields: Any) -> None:
        self.append((level, event, fields))

    def events(self, level: str | None = None) -> list[str]:
        return [event for said, event, _ in self if level in (None, said)]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def run_context() -> RunContext:
    """Two minutes for the item."""
    return RunContext(time.monotonic() + 120, key="test")


@pytest.fixture
def make_registry(tmp_path: Path, log: Log) -> Iterator[Callable[..., ToolRegistry]]:
    """Make a registry: `make_registry(odd=odd_stdio(), urls=(…), tool_timeout_s=…)`."""
    with ExitStack() as made:

        def make(urls: tuple[str, ...] = (), functions: Any = (), known: Any = None, **options: Any) -> ToolRegistry:
            names = {name for name in options if isinstance(options[name], dict)}
            path = tmp_path / f"mcp-{len(list(tmp_path.iterdir()))}.json"
            path.write_text(json.dumps({"mcpServers": {name: options.pop(name) for name in names}}))
            options.setdefault("tool_timeout_s", 60.0)
            settings = ToolSettings(mcp_servers=urls, mcp_config=str(path) if names else "", **options)
            registry = ToolRegistry(settings, functions, log, known)
            made.callback(registry.close)
            return registry

        yield make


class OwnServer:
    """`servers/modern.py` over HTTP, which can be killed and started again on the same port."""

    def __init__(self, transport: str = "http") -> None:
        self.transport = transport
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/{'sse' if transport == 'sse' else 'mcp'}"
        self.process: Process | None = None

    def start(self, which: str = "first") -> OwnServer:
        self.process = Process([sys.executable, SERVERS / "modern.py", self.transport, str(self.port), which])
        wait_until(lambda: port_answers(self.port), 20, "our MCP server listens")
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()


@pytest.fixture
def own_server() -> Iterator[Callable[..., OwnServer]]:
    """Start our own server over `http` or `sse`."""
    with ExitStack() as started:

        def make(transport: str = "http") -> OwnServer:
            server = OwnServer(transport)
            started.callback(server.kill)
            return server

        yield make


def odd_stdio(**env: str) -> dict[str, Any]:
    """An entry of MCP_CONFIG for `servers/odd.py`."""
    return {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "odd.py")], "env": env}


@pytest.fixture
def odd() -> Callable[..., dict[str, Any]]:
    return odd_stdio


def told_stdio(tools: Any, result: str = "", **more: Any) -> dict[str, Any]:
    """An entry of MCP_CONFIG for `servers/told.py`: what it lists, and what a call returns, as it is written."""
    env = {"TOOLS": json.dumps(tools), **({"RESULT": result} if result else {})}
    env |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in more.items()}
    return {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "told.py")], "env": env}


@pytest.fixture
def told() -> Callable[..., dict[str, Any]]:
    return told_stdio


@pytest.fixture
def own_stdio() -> dict[str, Any]:
    """An entry of MCP_CONFIG for `servers/modern.py`, a server made with the SDK."""
    return {"command": sys.executable, "args": [str(SERVERS / "modern.py"), "stdio"]}
