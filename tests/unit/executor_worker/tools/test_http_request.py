"""The built-in `http_request`: whom it reaches, and whom nobody can talk it into reaching."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from executor_worker.errors import ToolFailed, ToolTimeout, UnknownTool
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry

Make = Callable[..., ToolRegistry]


class Site(BaseHTTPRequestHandler):
    """Answers by path; keeps what it was asked."""

    seen: list[dict[str, Any]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append({"method": self.command, "path": self.path, "headers": headers, "body": body.decode()})
        status, kind, answer = 200, "application/json", b'{"n": 1}'
        location = ""
        if self.path.startswith("/to?"):
            status, location = 302, self.path.removeprefix("/to?")
        elif self.path == "/again":
            status, location = 307, "/json"
        elif self.path == "/loop":
            status, location = 302, "/loop"
        elif self.path == "/text":
            kind, answer = "text/plain; charset=latin-1", "é".encode("latin-1")
        elif self.path == "/large":
            answer = b"x" * (5 << 20)
        elif self.path == "/missing":
            status = 404
        elif self.path == "/slow":
            time.sleep(1)
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        try:
            self.wfile.write(b"" if self.command == "HEAD" else answer)
        except OSError:
            return

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def site() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A web server: its port, and what it was asked."""
    seen: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Seen", (Site,), {"seen": seen}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_port, seen
    server.shutdown()
    server.server_close()
    thread.join()


def request(make_registry: Make, run_context: RunContext, allow: str, url: str, **more: Any) -> Any:
    tool = make_registry(http_allow=tuple(allow.split(","))).find("http_request")
    return tool.call({"url": url, **more}, run_context, "k").value


def test_it_is_not_there_unless_switched_on(make_registry: Make) -> None:
    """No list of hosts, no tool."""
    with pytest.raises(UnknownTool):
        make_registry().find("http_request")


def test_a_listed_host_is_reached(make_registry: Make, run_context: RunContext, site: Any) -> None:
    """Status, headers and body come back; an error status is an answer too."""
    port, seen = site
    url = f"http://127.0.0.1:{port}"
    answer = request(make_registry, run_context, "127.0.0.1", f"{url}/json?q=1", headers={"X-A": "b", "Host": "evil"})
    assert (answer["status"], answer["body"], answer["headers"]["content-type"]) == (200, {"n": 1}, "application/json")
    assert seen[-1]["path"] == "/json?q=1"
    assert seen[-1]["headers"]["x-a"] == "b"
    assert seen[-1]["headers"]["host"] == f"127.0.0.1:{port}"
    request(make_registry, run_context, "127.0.0.1", f"{url}/", method="POST", body={"a": [1]})
    assert json.loads(seen[-1]["body"]) == {"a": [1]}
    assert seen[-1]["headers"]["content-type"] == "application/json"
    assert request(make_registry, run_context, "127.0.0.1", f"{url}/text")["body"] == "é"
    assert request(make_registry, run_context, "127.0.0.1", f"{url}/missing")["status"] == 404
    assert request(make_registry, run_context, "127.0.0.1", f"{url}/", method="HEAD")["body"] is not None


def test_each_request_carries_the_calls_key(make_registry: Make, run_context: RunContext, site: Any) -> None:
    """Whatever an item's id is made of; a key that the author gives is left as it is."""
    port, seen = site
    tool = make_registry(http_allow=("127.0.0.1",)).find("http_request")
    url = f"http://127.0.0.1:{port}/"
    for key, sent in (
        ("order 7:1.0", "order%207:1.0"),
        ("ä\r\nX-Evil: 1", "%C3%A4%0D%0AX-Evil:%201"),
        ("\ud800", "%ED%A0%80"),
    ):
        tool.call({"url": url, "method": "POST"}, run_context, key)
        assert seen[-1]["headers"]["idempotency-key"] == sent
        assert "x-evil" not in seen[-1]["headers"]
    tool.call({"url": url, "headers": {"idempotency-key": "mine"}}, run_context, "k")
    assert seen[-1]["headers"]["idempotency-key"] == "mine"


@pytest.mark.parametrize("allow", ["localhost", "127.0.0.0/8,localhost", "127.0.0.1,localhost:PORT"])
def test_a_private_host_is_reached_where_the_list_names_it(
    make_registry: Make, run_context: RunContext, site: Any, allow: str
) -> None:
    """By address or network, with or without port; `localhost` means the loopback."""
    port, _ = site
    allow = allow.replace("PORT", str(port))
    assert request(make_registry, run_context, allow, f"http://localhost:{port}/")["status"] == 200


@pytest.mark.parametrize(
    ("allow", "url", "said"),
    [
        ("api.example.com", "http://127.0.0.1:PORT/", "not on the list"),
        ("localhost:1", "http://localhost:PORT/", "not on the list"),
        ("*", "http://127.0.0.1:PORT/", "not public"),
        ("*", "http://localhost:PORT/", "not public"),
        ("*", "http://[::ffff:127.0.0.1]:PORT/", "not public"),
        ("*", "http://[64:ff9b::7f00:1]:PORT/", "not public"),
        ("*", "http://0.0.0.0:PORT/", "not public"),
        ("*", "http://169.254.169.254/latest/meta-data", "not public"),
        ("*", "http://2130706433:PORT/", "not public"),
        ("*", "http://[::1]:PORT/", "not public"),
        ("*", "http://[fe80::1]:PORT/", "not public"),
        ("*", "http://[fec0::1]:PORT/", "not public"),
        ("*", "http://[fd00::1]:PORT/", "not public"),
        ("*", "http://[::127.0.0.1]:PORT/", "not public"),
        ("*", "http://[2002:7f00:1::]:PORT/", "not public"),
        ("*,10.0.0.0/8,localhost:1", "http://127.0.0.1:PORT/", "not public"),
        ("*", "http://0x7f.1:PORT/", "not public"),
        ("*.localhost", "http://x.localhost:PORT/", "not public|can't be resolved"),
        ("*", "http://user:pw@127.0.0.1:PORT/", "user or password"),
        ("*", "file:///etc/passwd", "only http"),
        ("*", "http:///x", "only http"),
        ("*", "http://127.0.0.1:99999/", "no URL"),
        ("127.0.0.1", "http://127.0.0.1:PORT/to?http://localhost:PORT/json", "not on the list"),
        ("127.0.0.1", "http://127.0.0.1:PORT/to?file:///etc/passwd", "only http"),
        ("127.0.0.1,*", "http://127.0.0.1:PORT/to?http://169.254.169.254/", "not public"),
        ("127.0.0.1", "http://127.0.0.1:PORT/loop", "redirects"),
        ("127.0.0.1", "http://127.0.0.1:PORT/large", "larger than 4 MiB"),
    ],
)
def test_detours_are_refused(
    make_registry: Make, run_context: RunContext, site: Any, allow: str, url: str, said: str
) -> None:
    """Addresses in disguise, wildcards, redirects, other schemes: the list and the address decide."""
    port, _ = site
    with pytest.raises(ToolFailed, match=said):
        request(make_registry, run_context, allow, url.replace("PORT", str(port)))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "fe80::1", "fd00::1"])
def test_a_listed_name_opens_no_private_address(
    make_registry: Make, run_context: RunContext, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Whoever runs its DNS can't lead us inside, also not behind a public address; listing the address allows it."""
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("93.184.215.14", address)]
    monkeypatch.setattr("executor_worker.tools.builtin.http_request.socket.getaddrinfo", lambda *args, **named: answers)
    connected: list[str] = []

    def connect(to: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(to[0])
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr("executor_worker.tools.builtin.http_request.socket.create_connection", connect)
    for allow in ("api.example.com", "*.example.com", "api.example.com,172.16.0.0/12"):
        with pytest.raises(ToolFailed, match="HTTP_ALLOW has to list that address"):
            request(make_registry, run_context, allow, "http://api.example.com/")
    assert not connected
    with pytest.raises(ToolFailed, match="ConnectionRefusedError"):
        request(make_registry, run_context, f"api.example.com,{address}", "http://api.example.com/")
    assert connected == ["93.184.215.14", address]


def test_a_name_that_changes_its_address_gains_nothing(
    make_registry: Make, run_context: RunContext, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is resolved once; the connection goes to the address that was judged."""
    port, seen = site
    asked: list[str] = []

    def resolve(host: str, *args: Any, **named: Any) -> list[Any]:
        asked.append(host)
        address = "203.0.113.5" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected: list[Any] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr("executor_worker.tools.builtin.http_request.socket.getaddrinfo", resolve)
    monkeypatch.setattr("executor_worker.tools.builtin.http_request.socket.create_connection", connect)
    monkeypatch.setattr(
        "executor_worker.tools.builtin.http_request._is_public", lambda address: str(address) == "203.0.113.5"
    )
    with pytest.raises(ToolFailed, match="ConnectionRefusedError"):
        request(make_registry, run_context, "*", f"http://rebind.example:{port}/")
    assert asked == ["rebind.example"]
    assert connected == [("203.0.113.5", port)]
    assert not seen


def test_redirects_within_the_list_are_followed(make_registry: Make, run_context: RunContext, site: Any) -> None:
    """307 repeats the request, 302 asks anew; secrets do not follow to another host."""
    port, seen = site
    url = f"http://127.0.0.1:{port}"
    secret = {"Authorization": "Bearer x"}
    request(make_registry, run_context, "127.0.0.1", f"{url}/again", method="POST", body="b", headers=secret)
    assert (seen[-1]["method"], seen[-1]["body"], seen[-1]["headers"]["authorization"]) == ("POST", "b", "Bearer x")
    answer = request(
        make_registry,
        run_context,
        "127.0.0.1,localhost",
        f"{url}/to?http://localhost:{port}/json",
        method="POST",
        headers=secret,
    )
    assert answer["url"] == f"http://localhost:{port}/json"
    assert seen[-1]["method"] == "GET"
    assert "authorization" not in seen[-1]["headers"]


def test_a_slow_host_ends_in_time(make_registry: Make, run_context: RunContext, site: Any) -> None:
    """The tool's limit is the limit."""
    port, _ = site
    tool = make_registry(http_allow=("127.0.0.1",), tool_timeout_s=0.2).find("http_request")
    with pytest.raises((ToolTimeout, ToolFailed), match=r"0\.2 s|Timeout"):
        tool.call({"url": f"http://127.0.0.1:{port}/slow"}, run_context, "k")
