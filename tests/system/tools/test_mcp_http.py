"""MCP servers over HTTP: both transports, restarts, lost answers, refusals."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client

from executor_worker.errors import ToolTimeout, ToolUnavailable, ToolUncertain, UnknownTool
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry
from tests.kit import EverythingServer, Proxy, Stopwatch, free_port, wait_until

Make = Callable[..., ToolRegistry]
Own = Callable[..., Any]


@contextmanager
def http_server(status: int, seen: list[str] | None = None) -> Iterator[str]:
    """Answer every request with *status* and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if seen is not None:
                seen.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names http.server looks for

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/mcp"
    server.shutdown()
    server.server_close()
    thread.join()


def check_restarts(registry: ToolRegistry, server: EverythingServer, run_context: RunContext) -> None:
    echo = registry.find("echo")
    assert echo.call({"message": "one"}, run_context, "k").value == "Echo: one"
    server.restart()
    assert echo.call({"message": "two"}, run_context, "k").value == "Echo: two"
    server.kill()
    with pytest.raises(ToolUnavailable, match="can't be reached"):
        echo.call({"message": "three"}, RunContext(time.monotonic() + 2), "k")
    server.start()
    assert echo.call({"message": "four"}, run_context, "k").value == "Echo: four"


def test_streamable_http_survives_the_servers_restarts(
    everything_http: EverythingServer, make_registry: Make, run_context: RunContext
) -> None:
    """A lost session is made anew without anybody noticing; a server that is away is tool_unavailable."""
    check_restarts(make_registry((f"everything={everything_http.url}",)), everything_http, run_context)


def test_sse_survives_the_servers_restarts(
    everything_sse: EverythingServer, make_registry: Make, run_context: RunContext
) -> None:
    """The same for servers of the older kind."""
    registry = make_registry((everything_sse.url,))
    check_restarts(registry, everything_sse, run_context)
    assert "SSE" in registry.probe()[0][2]


def test_sse_is_fallen_back_to(own_server: Own, make_registry: Make, run_context: RunContext) -> None:
    """A URL that does not end in /sse and is refused by POST is tried the older way."""
    server = own_server("sse").start()
    with sse_elsewhere(server.port) as port:
        registry = make_registry((f"old=http://127.0.0.1:{port}/events",))
        assert registry.find("echo").call({"value": "x"}, run_context, "k").value == {"result": "x"}
        assert "SSE" in registry.probe()[0][2]


@contextmanager
def sse_elsewhere(port: int) -> Iterator[int]:
    """Serve the SSE server on *port* with its `/sse` called `/events`."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def forward(source: socket.socket, target: socket.socket, rename: bool) -> None:
        try:
            while chunk := source.recv(65536):
                target.sendall(chunk.replace(b" /events ", b" /sse ") if rename else chunk)
        except OSError:
            pass
        for side in (source, target):
            with_shutdown(side)

    def serve() -> None:
        while not ended.is_set():
            try:
                near, _ = listener.accept()
            except TimeoutError:
                continue
            near.settimeout(None)
            far = socket.create_connection(("127.0.0.1", port))
            for arguments in ((near, far, True), (far, near, False)):
                threads.append(threading.Thread(target=forward, args=arguments, daemon=True))
                threads[-1].start()
            sides.extend((near, far))

    sides: list[socket.socket] = []
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield listener.getsockname()[1]
    ended.set()
    server.join()
    for side in (*sides, listener):
        with_shutdown(side)
        side.close()
    for thread in threads:
        thread.join(2)


def with_shutdown(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_a_server_of_the_newest_protocol_is_called(
    own_server: Own, make_registry: Make, run_context: RunContext, transport: str
) -> None:
    """Structure, pictures, errors and ten mebibytes come through."""
    registry = make_registry((f"own={own_server(transport).start().url}",))
    assert registry.find("own.echo").effects == "none"
    picture = registry.find("picture").call({}, run_context, "k")
    assert [(block["type"], block["mimeType"]) for block in picture.blocks] == [("image", "image/png")]
    failed = registry.find("fail").call({}, run_context, "k")
    assert failed.is_error
    assert "fail" in failed.text
    assert len(registry.find("big").call({"mib": 10}, run_context, "k").value["result"]) == 10 << 20


def test_a_changed_list_is_heard_of_over_http(own_server: Own, make_registry: Make, run_context: RunContext) -> None:
    """Servers of the newest protocol tell those who listen."""
    registry = make_registry((own_server().start().url,))
    registry.find("grow").call({"name": "fresh"}, run_context, "k")
    wait_until(lambda: "fresh" in [tool.name for tool in registry.all()], 5)


def test_what_changed_before_anybody_listened_is_found(
    own_server: Own, make_registry: Make, run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tools are listed before the server is asked to tell of changes: between the two it tells nobody."""
    listen, may_listen = Client.listen, threading.Event()

    @asynccontextmanager
    async def late(client: Client, *, tools_list_changed: bool) -> AsyncIterator[Any]:
        await anyio.to_thread.run_sync(may_listen.wait, 20)
        async with listen(client, tools_list_changed=tools_list_changed) as subscription:
            yield subscription

    monkeypatch.setattr(Client, "listen", late)
    registry = make_registry((own_server().start().url,))
    registry.find("grow").call({"name": "fresh"}, run_context, "k")
    may_listen.set()
    wait_until(lambda: "fresh" in [tool.name for tool in registry.all()], 5)


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_a_server_that_dies_in_a_call_makes_it_uncertain(
    own_server: Own, make_registry: Make, run_context: RunContext, tmp_path: Path, transport: str
) -> None:
    """It may have done its work: it is not sent again, to nobody."""
    registry = make_registry((own_server(transport).start().url,))
    path = tmp_path / "called"
    with pytest.raises(ToolUncertain):
        registry.find("die").call({"path": str(path)}, run_context, "k")
    assert path.read_text() == "called"


def test_an_answer_lost_on_the_way_is_uncertain_and_one_never_sent_is_not(
    own_server: Own, make_registry: Make, run_context: RunContext, tmp_path: Path, proxy: Callable[[int], Proxy]
) -> None:
    """The difference is whether the request left; what is read-only is asked again."""
    server = own_server().start()
    between = proxy(server.port)
    registry = make_registry((f"own=http://{between.addr}/mcp",))
    record, slow = registry.find("record"), registry.find("slow")
    path, log = tmp_path / "slow", tmp_path / "calls"

    def cut_in_the_call() -> None:
        wait_until(path.exists, 10)
        between.cut()

    cut = threading.Thread(target=cut_in_the_call)
    cut.start()
    with pytest.raises(ToolUncertain):
        slow.call({"path": str(path), "seconds": 20}, run_context, "k")
    cut.join()
    assert record.call({"path": str(log)}, run_context, "k").value == {"calls": 1}


def test_a_call_that_takes_too_long_is_cancelled_at_the_server(
    own_server: Own, make_registry: Make, tmp_path: Path, run_context: RunContext
) -> None:
    """tool_timeout here, a cancelled task there."""
    registry = make_registry((own_server().start().url,), tool_timeout_s=0.5)
    path = tmp_path / "slow"
    while not path.exists():  # the server may not have begun with it when its time is up
        with pytest.raises(ToolTimeout):
            registry.find("slow").call({"path": str(path), "seconds": 30}, run_context, "k")
    wait_until(lambda: path.read_text() == "cancelled", 5)


def test_a_name_that_two_servers_have_needs_the_servers(
    own_server: Own, make_registry: Make, run_context: RunContext
) -> None:
    """`which` is ambiguous and says how to ask; `a.which` and `b.which` are not."""
    a, b = own_server().start("A"), own_server().start("B")
    registry = make_registry((f"a={a.url}", f"b={b.url}"))
    assert registry.find("a.which").call({}, run_context, "k").value == {"result": "A"}
    assert registry.find("b.which").call({}, run_context, "k").value == {"result": "B"}
    with pytest.raises(UnknownTool, match=r"a\.which or b\.which"):
        registry.find("which")
    names = [tool.name for tool in registry.all()]
    assert "a.which" in names
    assert "which" not in names


def test_a_dead_server_is_named_and_harms_nobody_else(
    own_server: Own, make_registry: Make, run_context: RunContext
) -> None:
    """Other tools are found at once; an unknown name may be the dead server's; later it is."""
    server = own_server().start()
    late = own_server()
    registry = make_registry((f"up={server.url}", f"late={late.url}"))
    began = Stopwatch()
    assert registry.find("echo").call({"value": "x"}, run_context, "k").value == {"result": "x"}
    assert began.own_s() < 3
    with pytest.raises(ToolUnavailable, match="server late was never reached"):
        registry.find("late.which")
    assert [(name, ok) for name, ok, _ in registry.probe()] == [("up", True), ("late", False)]
    late.start("at last")
    assert registry.find("late.which").call({}, run_context, "k").value == {"result": "at last"}
    with pytest.raises(UnknownTool, match="nobody"):
        registry.find("nobody")


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_server_that_refuses_is_unavailable_and_says_why(make_registry: Make, status: int) -> None:
    """The HTTP status is what an operator needs to know."""
    with http_server(status) as url:
        registry = make_registry((f"x={url}",))
        with pytest.raises(ToolUnavailable, match=f"HTTP status {status}"):
            registry.find("wanted")
        assert registry.probe()[0][1] is False


def test_headers_of_the_configuration_are_sent_and_never_told(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    """`${NAME}` is filled in; neither the error nor the log repeats it."""
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    seen: list[str] = []
    with http_server(401, seen) as url:
        registry = make_registry(x={"url": url, "headers": {"Authorization": "Bearer ${MY_TOKEN}"}})
        with pytest.raises(ToolUnavailable) as failed:
            registry.find("wanted")
    assert set(seen) == {"Bearer s3cret"}
    assert "s3cret" not in str(failed.value) + str(log)


def test_a_server_that_accepts_and_says_nothing_is_given_up(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting has its own limit."""
    monkeypatch.setattr("executor_worker.tools.mcp_config.Remote.connect_seconds", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = make_registry((f"x=http://127.0.0.1:{silent.getsockname()[1]}/mcp",))
        with pytest.raises(ToolUnavailable, match=r"no answer within 0\.5 s"):
            registry.find("wanted")


def test_nothing_is_there(make_registry: Make) -> None:
    """A refused connection is known at once."""
    registry = make_registry((f"x=http://127.0.0.1:{free_port()}/mcp",))
    began = Stopwatch()
    with pytest.raises(ToolUnavailable, match="server x was never reached"):
        registry.find("wanted")
    assert began.own_s() < 3


@contextmanager
def answering(answer: Callable[[str, str, str], tuple[int, str, bytes]]) -> Iterator[str]:
    """Answer each request as *answer* says of its method, path and JSON-RPC method: status, content type, body."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            status, kind, body = answer(self.command, self.path, sent.get("method", ""))
            body = body.replace(b'"ID"', json.dumps(sent.get("id")).encode())
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names http.server looks for

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "x", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "told", "inputSchema": {"type": "object"}}]},
    "tools/call": {"content": [{"type": "text", "text": "half \ud83d"}]},
}


def spoken(method: str) -> tuple[int, str, bytes]:
    """What a small server over Streamable HTTP answers."""
    if method.startswith("notifications/"):
        return 202, "application/json", b""
    said: dict[str, Any] = {"jsonrpc": "2.0", "id": "ID"}
    found = RESULTS.get(method)
    said |= {"result": found} if found else {"error": {"code": -32601, "message": "no such method"}}
    return 200, "application/json", json.dumps(said).encode()


@pytest.mark.parametrize("wrong", ["server/discover", "initialize", "tools/list"])
@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-8", "application/octet-stream"])
def test_a_wrong_content_type_is_what_is_said(make_registry: Make, log: Any, wrong: str, kind: str) -> None:
    """Whatever the server says to what is tried after it: 405 to GET and to DELETE."""

    def answer(command: str, path: str, method: str) -> tuple[int, str, bytes]:
        if command != "POST":
            return 405, "text/plain", b""
        status, usual, body = spoken(method)
        if wrong == "server/discover" or method == wrong:
            usual = kind
        return status, usual, body

    with answering(answer) as url:
        _, reached, said = make_registry((f"x={url}/mcp",)).probe()[0]
    assert not reached
    assert f"content type '{kind}'" in said
    assert [fields["reason"] for _, event, fields in log if event == "mcp.disconnected"] == [
        "it answered with the content type"
    ]


@pytest.mark.parametrize("at", ["/mcp", "/"])
@pytest.mark.parametrize("refusal", [(404, "text/plain"), (405, "text/plain"), (200, "text/html"), (406, "text/html")])
def test_an_address_without_a_path_is_looked_for_where_servers_listen(
    make_registry: Make, run_context: RunContext, log: Any, at: str, refusal: tuple[int, str]
) -> None:
    """The official server listens at /mcp; at the root is a page for people, or nothing. Half a pair is mended."""

    def answer(command: str, path: str, method: str) -> tuple[int, str, bytes]:
        return spoken(method) if command == "POST" and path.partition("?")[0] == at else (*refusal, b"")

    with answering(answer) as url:
        registry = make_registry((f"x={url}?key=1",))
        assert registry.find("told").call({}, run_context, "k").value == "half \ufffd"
        assert registry.probe()[0][2].startswith("1 tool (Streamable HTTP" + (" at /mcp," if at == "/mcp" else ","))
    connected = [fields for _, event, fields in log if event == "mcp.connected"]
    assert [fields.get("at") for fields in connected] == ["/mcp" if at == "/mcp" else None]


def test_an_older_server_is_found_at_sse(own_server: Own, make_registry: Make, run_context: RunContext) -> None:
    """By its address alone, also where only that kind is asked for; and again after it was restarted."""
    server = own_server("sse").start()
    url = server.url.removesuffix("/sse")
    for registry in (make_registry((url,)), make_registry(x={"url": f"{url}/", "type": "sse"})):
        assert registry.find("echo").call({"value": "x"}, run_context, "k").value == {"result": "x"}
        assert "SSE at /sse" in registry.probe()[0][2]


def test_all_that_were_tried_are_named(make_registry: Make, log: Any) -> None:
    """Each with what it said; an address with a path, or of one kind, is taken at its word."""

    def answer(command: str, path: str, method: str) -> tuple[int, str, bytes]:
        return {"/mcp": 404, "/sse": 403}.get(path, 405), "text/plain", b""

    with answering(answer) as url:
        said = make_registry((f"x={url}/",)).probe()[0][2]
        assert said == (
            "it answered with HTTP status 405; at /mcp: it answered with HTTP status 404; "
            "at /sse: it answered with HTTP status 403"
        )
        assert make_registry((f"x={url}/mcp",)).probe()[0][2] == "it answered with HTTP status 404"
        assert "/sse" not in make_registry(x={"url": url, "type": "http"}).probe()[0][2]
    with answering(lambda *_: (401, "text/plain", b"")) as url:
        assert make_registry((f"x={url}",)).probe()[0][2] == "it answered with HTTP status 401"
