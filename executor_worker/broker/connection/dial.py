"""Open a socket to an endpoint's server: TCP, TLS or unix, directly or by asking sentinels for the primary."""

from __future__ import annotations

import errno
import importlib
import socket
import ssl

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.errors import StreamRefused, StreamUnavailable

KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))  # seconds, seconds, probes


def preload(endpoint: Endpoint) -> None:
    """Import what dialling *endpoint* needs, once for all who are forked after it: it takes a good part of a second."""
    if endpoint.service is not None:
        importlib.import_module("redis.sentinel")


class Dialler:
    """Opens sockets to one endpoint; the TLS context is made once and kept until a handshake fails by it."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._tls: ssl.SSLContext | None = None

    def dial(self) -> socket.socket:
        """
        Raises:
            OSError: No server answers.
            StreamUnavailable: No sentinel knows a primary that is one.
            StreamRefused: A certificate is not trusted or can't be read, or a sentinel refuses us.
        """
        endpoint = self._endpoint
        if endpoint.path is not None:
            return self._unix(endpoint.path)
        if endpoint.service is not None:
            return self._tcp(*self._primary())
        return self._tcp(*endpoint.hosts[0])

    def _unix(self, path: str) -> socket.socket:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(errno.EAFNOSUPPORT, "this system has no UNIX sockets: name Redis by host and port")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._timeout_s)
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tcp(self, host: str, port: int) -> socket.socket:
        sock = socket.create_connection((host, port), self._timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            return self._secured(sock, host)
        except BaseException:
            sock.close()
            raise

    def _secured(self, sock: socket.socket, host: str) -> socket.socket:
        if self._endpoint.tls is None:
            return sock
        if self._tls is None:
            try:
                self._tls = self._endpoint.tls.context()
            except OSError as error:
                raise StreamRefused(f"a TLS file can't be used: {error}") from error
        try:
            return self._tls.wrap_socket(sock, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            self._tls = None  # its files may be replaced by then
            raise StreamRefused(f"the certificate of {host} is not trusted: {error.verify_message}") from error
        except OSError:
            self._tls = None
            raise

    def _primary(self) -> tuple[str, int]:
        """Ask the sentinels; the first that answers and knows a primary that is up is believed."""
        # Only with sentinels: a pool without them saves the 20 MiB.
        from redis import exceptions
        from redis.backoff import NoBackoff
        from redis.retry import Retry
        from redis.sentinel import Sentinel

        endpoint = self._endpoint
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            list(endpoint.hosts),
            sentinel_kwargs={
                "socket_timeout": self._timeout_s,
                "username": endpoint.sentinel_user,
                "password": endpoint.sentinel_password,
                "retry": Retry(NoBackoff(), 0),
                **(endpoint.tls.as_keywords() if endpoint.tls else {}),
            },
        )
        try:
            host, port = sentinels.discover_master(endpoint.service or "")  # type: ignore[no-untyped-call]
        except exceptions.AuthenticationError as error:
            raise StreamRefused(f"a sentinel refuses us: {error}") from error
        except (exceptions.RedisError, OSError) as error:
            raise StreamUnavailable(f"no sentinel names a primary: {error}") from error
        finally:
            for sentinel in sentinels.sentinels:
                sentinel.close()
        return str(host), int(port)
