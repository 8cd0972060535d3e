"""
The built-in tool `http_request`: to listed hosts only, and to private addresses only if the list has those too.

A listed name belongs to its DNS operator: it opens no door to loopback, link-local or private addresses. A name is
resolved once, the addresses are judged, and the connection goes to the address that was judged: a name that resolves
differently a moment later gains nothing. Redirects are judged like requests.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from executor_worker.tools.base import ToolContext, key_header

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LARGEST_BODY = 4 * 1024 * 1024  # bytes
_MOST_REDIRECTS = 5
_LONGEST_SECONDS = 60.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OURS_TO_SET = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})


class Refused(ValueError):
    """The reason why a request is not made, for its author."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One word of the list: `host`, `*.domain`, `*`, an address or a network; each with `:port` if only that."""

    host: str
    port: int | None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None

    @classmethod
    def parse(cls, word: str) -> _Entry:
        host, port = _split_port(word.strip().lower().rstrip("."))
        try:
            return cls(host, port, ipaddress.ip_network(host, strict=False))
        except ValueError:
            return cls(host, port, None)

    def names(self, host: str, port: int) -> bool:
        """Tell whether it lets requests to *host* through; its addresses are judged apart."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            address = _address(host)
            return address is not None and address in self.network
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in ("*", host)

    def covers(self, address: Address, port: int) -> bool:
        """Tell whether it means an address that is not public: it must be or hold the address; a name is not enough."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address in self.network
        return self.host == "localhost" and address.is_loopback


def make_http_request(allowed: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """Make the tool's function for the hosts in *allowed* (HTTP_ALLOW)."""
    entries = [_Entry.parse(word) for word in allowed]

    def http_request(
        context: ToolContext,
        url: str,
        method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET",
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> dict[str, Any]:
        """
        Make an HTTP request; returns status, headers, the final url and the body (parsed where it is JSON).

        Args:
            url: An http:// or https:// URL.
            headers: Request headers.
            body: A text is sent as it is, anything else as JSON.
        """
        deadline = time.monotonic() + min(context.left(), _LONGEST_SECONDS)
        request = _Request(url, method, _marked(headers or {}, context), body)
        for _ in range(_MOST_REDIRECTS + 1):
            answer = _exchange(request, entries, deadline)
            if answer.location is None:
                return answer.result
            request = request.redirected(answer.location, answer.result["status"])
        raise Refused(f"more than {_MOST_REDIRECTS} redirects")

    return http_request


def _marked(headers: dict[str, str], context: ToolContext) -> dict[str, str]:
    """Name the call, for APIs that take idempotency keys, and its trace; what its author gives goes first."""
    ours = {**key_header(context.key), **context.trace_headers}
    given = {name.lower() for name in headers}
    return {**{name: value for name, value in ours.items() if name.lower() not in given}, **headers}


@dataclass(frozen=True, slots=True)
class _Answer:
    result: dict[str, Any]
    location: str | None


class _Request:
    def __init__(self, url: str, method: str, headers: dict[str, str], body: Any) -> None:
        self.parts = _checked(url)
        self.url = url
        self.method = method
        self.headers = {name: value for name, value in headers.items() if name.lower() not in _OURS_TO_SET}
        self.body = body
        self.host = (self.parts.hostname or "").lower().rstrip(".")
        self.port = self.parts.port or (443 if self.parts.scheme == "https" else 80)

    def redirected(self, location: str, status: int) -> _Request:
        """The request a redirect asks for; what is secret goes to the same host only."""
        url = urljoin(self.url, location)
        again = status in (307, 308) or self.method in ("GET", "HEAD")
        method, body = (self.method, self.body) if again else ("GET", None)
        following = _Request(url, method, self.headers, body)
        if (following.parts.scheme, following.host, following.port) != (self.parts.scheme, self.host, self.port):
            following.headers = {n: v for n, v in self.headers.items() if n.lower() not in _SECRET}
        return following

    def payload(self) -> tuple[bytes | None, dict[str, str]]:
        if self.body is None:
            return None, self.headers
        if isinstance(self.body, str):
            return self.body.encode(), self.headers
        headers = {"Content-Type": "application/json"} | self.headers
        return json.dumps(self.body).encode(), headers


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise Refused(f"that is no URL: {error}") from error
    if not valid:
        raise Refused("only http:// and https:// URLs with a host can be requested")
    if parts.username is not None or parts.password is not None:
        raise Refused("a URL with a user or password in it is not requested: use a header")
    return parts


def _exchange(request: _Request, entries: list[_Entry], deadline: float) -> _Answer:
    with _connected(request, _allowed_addresses(request, entries), deadline) as connected:
        connection = http.client.HTTPConnection(request.host, request.port)
        connection.sock = connected
        body, headers = request.payload()
        path = (request.parts.path or "/") + (f"?{request.parts.query}" if request.parts.query else "")
        connection.request(request.method, path, body, {"Connection": "close", **headers})
        response = connection.getresponse()
        location = response.headers.get("Location") if response.status in _REDIRECTS else None
        result = {"status": response.status, "url": request.url, "headers": _headers(response)}
        if location is None:
            result["body"] = _body(response, connected, deadline)
        return _Answer(result, location)


def _allowed_addresses(request: _Request, entries: list[_Entry]) -> list[Address]:
    if not any(entry.names(request.host, request.port) for entry in entries):
        raise Refused(f"host {request.host!r} (port {request.port}) is not on the list HTTP_ALLOW")
    addresses = _resolve(request.host, request.port)
    for address in addresses:
        if not (_is_public(address) or any(entry.covers(_real(address), request.port) for entry in entries)):
            advice = "HTTP_ALLOW has to list that address, or its network, too"
            raise Refused(f"host {request.host!r} has an address that is not public: {advice}")
    return addresses


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"host {host!r} can't be resolved") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _real(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        nat64 = ipaddress.ip_network("64:ff9b::/96")
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in nat64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def _is_public(address: Address) -> bool:
    real = _real(address)
    # What Python calls global holds the site-local addresses of old, and the unassigned rest of IPv6.
    odd = real.is_multicast or real.is_reserved or getattr(real, "is_site_local", False)
    return real.is_global and not odd


def _connected(request: _Request, addresses: list[Address], deadline: float) -> socket.socket:
    connected = _first_answering(addresses, request.port, deadline)
    if request.parts.scheme == "http":
        return connected
    try:
        return ssl.create_default_context().wrap_socket(connected, server_hostname=request.host)
    except BaseException:
        connected.close()
        raise


def _first_answering(addresses: list[Address], port: int, deadline: float) -> socket.socket:
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((str(address), port), _left(deadline) / 2)
    return socket.create_connection((str(addresses[-1]), port), _left(deadline))


def _body(response: http.client.HTTPResponse, connected: socket.socket, deadline: float) -> Any:
    chunks: list[bytes] = []
    size = 0
    while not response.isclosed():
        connected.settimeout(_left(deadline))
        chunk = response.read1(65536)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise Refused(f"the answer is larger than {_LARGEST_BODY >> 20} MiB")
    return _parsed(b"".join(chunks), response.headers.get_content_type(), response.headers.get_content_charset())


def _parsed(body: bytes, kind: str, charset: str | None) -> Any:
    try:
        text = body.decode(charset or "utf-8", errors="replace")
    except LookupError:
        text = body.decode("utf-8", errors="replace")
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the request took too long")
    return left


def _split_port(word: str) -> tuple[str, int | None]:
    if word.startswith("["):
        host, _, port = word[1:].partition("]")
        return host, int(port[1:]) if port.startswith(":") and port[1:].isdigit() else None
    host, colon, port = word.rpartition(":")
    if colon and port.isdigit() and ":" not in host:
        return host, int(port)
    return word, None


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
