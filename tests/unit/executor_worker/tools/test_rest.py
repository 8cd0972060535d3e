"""Legacy REST tools."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from executor_worker.errors import NodeTimeout, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain, UnknownTool
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry, ToolSettings, preload
from tests.kit import free_port

Make = Callable[..., ToolRegistry]
TOOLS = [
    {"name": "add", "description": "Adds.", "input_schema": {"type": "object", "required": ["a"]}},
    *({"name": name} for name in ("hang", "drop", "busy", "fail", "text", "a b/c", "calculate")),
    {"description": "nameless"},
    "not a tool",
]


class Api(BaseHTTPRequestHandler):
    """`/api/tools` of the original's kind."""

    def do_GET(self) -> None:
        self._send(200 if self.path == "/api/tools" else 404, json.dumps(TOOLS).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match self.path.removeprefix("/api/tools/"):
            case "add":
                self._send(200, json.dumps({"sum": body["a"] + 1, "key": self.headers["Idempotency-Key"]}).encode())
            case "hang":
                time.sleep(1)
            case "drop":
                self.connection.close()
            case "busy":
                self._send(503, b"")
            case "fail":
                self._send(500, b"no such customer")
            case "text":
                self._send(200, b"plain")
            case "a%20b%2Fc":
                self._send(200, b"[]")
            case _:
                self._send(404, b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A dropped connection is meant."""


@pytest.fixture
def api() -> Iterator[str]:
    """The API's URL."""
    server = QuietServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_its_tools_are_listed_and_called(make_registry: Make, api: str, run_context: RunContext) -> None:
    """Name, description and schema come from the list; the result is what the POST returned."""
    registry = make_registry(api_tools_url=api)
    add = registry.find("add")
    assert (add.description, add.input_schema["required"], add.source, add.effects) == ("Adds.", ["a"], "rest", None)
    assert add.call({"a": 2}, run_context, "item/1").value == {"sum": 3, "key": "item/1"}
    assert add.call({"a": 2}, run_context, "ä\n1").value["key"] == "%C3%A4%0A1"
    assert registry.find("text").call({}, run_context, "k").value == "plain"
    assert registry.find("a b/c").call({}, run_context, "k").value == []
    assert registry.find("calculate").source == "built-in"
    assert {"add", "text", "calculate"} <= {tool.name for tool in registry.all()}
    assert registry.probe() == [("API_TOOLS_URL", True, "8 tools (REST, deprecated)")]
    with pytest.raises(UnknownTool, match="nearest: add"):
        registry.find("addd")


def test_failures_have_their_codes(make_registry: Make, api: str, run_context: RunContext) -> None:
    """A refusal, a lost answer, an answer too late, and a server that takes no calls now."""
    registry = make_registry(api_tools_url=api, tool_timeout_s=0.8)
    with pytest.raises(ToolFailed, match="HTTP status 500: no such customer"):
        registry.find("fail").call({}, run_context, "k")
    with pytest.raises(ToolUnavailable, match="HTTP 503"):
        registry.find("busy").call({}, run_context, "k")
    with pytest.raises(ToolUncertain):
        registry.find("drop").call({}, run_context, "k")
    with pytest.raises(ToolTimeout):
        registry.find("hang").call({}, run_context, "k")
    with pytest.raises(NodeTimeout):
        registry.find("hang").call({}, RunContext(time.monotonic() + 0.2), "k")


def test_a_server_that_was_never_reached_makes_unknown_names_unavailable(make_registry: Make) -> None:
    """What is known elsewhere works; asking again does not try again at once."""
    registry = make_registry(api_tools_url=f"http://127.0.0.1:{free_port()}")
    assert registry.find("calculate").name == "calculate"
    for _ in range(2):
        with pytest.raises(ToolUnavailable, match="API_TOOLS_URL was never reached"):
            registry.find("add")
    assert registry.probe()[0][1] is False


def test_it_is_deprecated(log: Any) -> None:
    """Said once, when the program starts."""
    preload(ToolSettings(api_tools_url="http://x"), log)
    assert log.events("warn") == ["rest_tools.deprecated"]
