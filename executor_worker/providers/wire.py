"""
HTTP under a call's own time limit.

The SDKs know timeouts per read only: a server that trickles a byte a minute is never late. Here every connect,
read and write is bounded by what is left of the call, waits are cut into slices, and the run context is asked between
them. Connections are made after fork; only the TLS context may come from before it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpcore2
import httpx2

from executor_worker.errors import NodeError
from executor_worker.run_context import RunContext
from executor_worker.settings.proxies import proxy_for, proxy_problem

SLICE_S = 0.25
CONNECT_S = 10.0
IDLE_S = 30.0
MAX_REPLY_BYTES = 64 * 1024 * 1024


class ReplyTooLarge(Exception):
    """The server goes on and on; not a transport error, it would do so again."""


class Limit:
    """
    The limit of the attempt in progress: what it may still take.

    Attributes:
        stopped: What the run context said when it ended the attempt; the SDKs wrap it, so it is kept here.
    """

    def __init__(self) -> None:
        self._run_context: RunContext | None = None
        self._until = 0.0
        self.stopped: NodeError | None = None

    def begin(self, seconds: float, run_context: RunContext) -> None:
        self._run_context = run_context
        self._until = run_context.clock() + seconds
        self.stopped = None

    def left(self) -> float:
        return self._until - self._run_context.clock() if self._run_context else CONNECT_S

    def next_wait(self) -> float:
        """
        Ask the run context, then say how long to wait before asking again.

        Raises:
            NodeError: From the run context.
            httpcore2.ReadTimeout: The attempt's time is up.
        """
        if self._run_context:
            try:
                self._run_context.check()
            except NodeError as error:
                self.stopped = error
                raise
        left = self.left()
        if left <= 0:
            raise httpcore2.ReadTimeout("the call's time is up")
        return min(SLICE_S, left, max(self._run_context.left(), 0.001) if self._run_context else left)

    def connect_wait(self) -> float:
        self.next_wait()
        return min(CONNECT_S, self.left())


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, limit: Limit) -> None:
        self._inner = inner
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            wait = self._limit.next_wait()
            try:
                return self._inner.read(max_bytes, wait)
            except httpcore2.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._limit.next_wait()
        self._inner.write(buffer, self._limit.left())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._limit.connect_wait()), self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        wait = self._limit.connect_wait()
        return _Stream(self._inner.connect_tcp(host, port, wait, local_address, socket_options), self._limit)


class _Body(httpx2.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        with _as_httpx_error():
            for chunk in self._inner:
                size += len(chunk)
                if size > MAX_REPLY_BYTES:
                    raise ReplyTooLarge(f"the reply is larger than {MAX_REPLY_BYTES >> 20} MiB")
                yield chunk

    def close(self) -> None:
        self._inner.close()


@contextmanager
def _as_httpx_error() -> Iterator[None]:
    """Rename the transport's errors: the SDKs know those of httpx2 only, and the two sets bear the same names."""
    try:
        yield
    except (
        httpcore2.TimeoutException,
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.ProxyError,
        httpcore2.UnsupportedProtocol,
    ) as error:
        renamed = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise renamed(str(error)) from error


class _Transport(httpx2.BaseTransport):
    def __init__(self, limit: Limit, base_url: str) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls_context(),
            proxy=_proxy(base_url),
            keepalive_expiry=IDLE_S,
            network_backend=_Backend(limit),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        core_request = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx_error():
            response = self._pool.handle_request(core_request)
        return httpx2.Response(
            response.status, headers=response.headers, stream=_Body(response.stream), extensions=response.extensions
        )

    def close(self) -> None:
        self._pool.close()


def _proxy(base_url: str) -> httpcore2.Proxy | None:
    """
    Make the proxy that the environment names for this endpoint.

    Raises:
        ConfigError: It can't be used.
    """
    if problem := proxy_problem(base_url):
        raise problem
    if (address := proxy_for(base_url)) is None:
        return None
    proxy = httpx2.Proxy(address)
    return httpcore2.Proxy(str(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)


@cache
def tls_context() -> ssl.SSLContext:
    """One per process, made before fork if the caller preloads: it holds certificates, no connection."""
    return httpx2.create_ssl_context()


def http_client(limit: Limit, base_url: str) -> httpx2.Client:
    """Make a client all of whose waits ask *limit*."""
    return httpx2.Client(transport=_Transport(limit, base_url), timeout=None, follow_redirects=True, trust_env=False)
