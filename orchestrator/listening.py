"""The API's sockets: bound by the supervisor before the first fork, so that no port is lost with an API process."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

from executor_worker.errors import ConfigError
from executor_worker.settings import Settings

BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Listening:
    """
    Attributes:
        http: None: HTTP is not served.
        grpc: Bound, not listening: it keeps the port while API processes listen there by themselves. None: no gRPC.
        host: Where both are.
    """

    http: socket.socket | None
    grpc: socket.socket | None
    host: str

    @classmethod
    def of(cls, settings: Settings, inherited: tuple[int, ...] = ()) -> Listening:
        """
        Bind the ports that the settings name, or take over those of a predecessor.

        Raises:
            ConfigError: A port can't be listened on.
        """
        host, http, grpc = settings.dago_http_host, settings.dago_http_port, settings.dago_grpc_port
        if http is None and grpc is None:
            raise ConfigError("DAGO_HTTP_PORT", "is empty, and DAGO_GRPC_PORT too.", "Name a port.")
        sockets = [socket.socket(fileno=fd) for fd in inherited]
        listening = [one for one in sockets if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
        bound = [one for one in sockets if one not in listening]
        return cls(
            None if http is None else listening[0] if listening else _bind("HTTP", host, http, _listen),
            None if grpc is None else bound[0] if bound else _bind("GRPC", host, grpc, _keep),
            host,
        )

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(one for one in (self.http, self.grpc) if one is not None)

    @property
    def ports(self) -> dict[str, int]:
        """The port of each protocol that is served."""
        kinds = {"http": self.http, "grpc": self.grpc}
        return {kind: int(one.getsockname()[1]) for kind, one in kinds.items() if one is not None}


def _bind(kind: str, host: str, port: int, make: Callable[[str, int], socket.socket]) -> socket.socket:
    try:
        return make(host, port)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        problem = f"{host}:{port} can't be listened on ({reason})."
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ConfigError("DAGO_HTTP_HOST", problem, "Name an address of this machine, or 0.0.0.0.") from None
        fix = "Choose another port, 0 for any free one, or leave it empty for none."
        raise ConfigError(f"DAGO_{kind}_PORT", problem, fix) from None


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)


def _keep(host: str, port: int) -> socket.socket:
    """Bind a port that others may listen on too, if no other process has it yet."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = int(probe.getsockname()[1])
    kept = socket.socket(_family(host))
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind((host, port))
    except BaseException:
        kept.close()
        raise
    return kept


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
