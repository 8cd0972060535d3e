"""Open a socket to an endpoint's server: TCP, TLS or unix, directly or by asking sentinels for the primary."""

from __future__ import annotations

import socket
import ssl

import hiredis

from executor_worker.errors import StreamRefused, StreamUnavailable
from executor_worker.stream.command import pack
from executor_worker.stream.endpoint import Endpoint
from executor_worker.stream.replies import error_of

KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))  # seconds, seconds, probes
CHUNK = 4096


class Dialler:
    """Opens sockets to one endpoint; the TLS context is made once and kept."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._tls: ssl.SSLContext | None = None

    def dial(self) -> socket.socket:
        """
        Raises:
            OSError: Nobody answers.
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
            raise StreamRefused(f"the certificate of {host} is not trusted: {error.verify_message}") from error

    def _primary(self) -> tuple[str, int]:
        """Ask one sentinel after the other; each is given the whole timeout."""
        reasons = []
        for host, port in self._endpoint.hosts:
            try:
                found = self._ask(host, port)
            except (OSError, StreamUnavailable) as error:
                reasons.append(f"{host}:{port}: {error}")
                continue
            if found is not None:
                return found
            reasons.append(f"{host}:{port} knows no primary {self._endpoint.service!r}")
        raise StreamUnavailable("no sentinel names a primary: " + "; ".join(reasons))

    def _ask(self, host: str, port: int) -> tuple[str, int] | None:
        endpoint = self._endpoint
        commands: list[tuple[str, ...]] = [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", endpoint.service or "")]
        if endpoint.sentinel_password:
            user = (endpoint.sentinel_user,) if endpoint.sentinel_user else ()
            commands.insert(0, ("AUTH", *user, endpoint.sentinel_password))
        sock = self._tcp(host, port)
        try:
            sock.sendall(b"".join(pack(command) for command in commands))
            answer = _replies(sock, len(commands))[-1]
        finally:
            sock.close()
        return (answer[0].decode(), int(answer[1])) if answer else None


def _replies(sock: socket.socket, count: int) -> list[list[bytes] | None]:
    """Read *count* replies; an error reply is raised."""
    reader = hiredis.Reader(replyError=error_of, errors="replace", notEnoughData=...)
    replies: list[list[bytes] | None] = []
    while len(replies) < count:
        reply = reader.gets()
        if reply is ...:
            chunk = sock.recv(CHUNK)
            if not chunk:
                raise ConnectionResetError("the sentinel closed the connection")
            reader.feed(chunk)
            continue
        if isinstance(reply, Exception):
            raise reply
        replies.append(reply)
    return replies
