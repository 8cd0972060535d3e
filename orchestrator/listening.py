"""The API's sockets: bound by the supervisor before the first fork, so that no port is lost with an API process."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from executor_worker.errors import ConfigError
from executor_worker.settings import Settings

BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Listening:
    """
    Attributes:
        http: None: HTTP is not served.
    """

    http: socket.socket | None

    @classmethod
    def of(cls, settings: Settings, inherited: tuple[int, ...] = ()) -> Listening:
        """
        Bind the ports that the settings name, or take over those of a predecessor.

        Raises:
            ConfigError: A port can't be listened on.
        """
        if settings.dago_http_port is None:
            raise ConfigError("DAGO_HTTP_PORT", "is empty, so that there is nothing to serve.", "Name a port.")
        if inherited:
            return cls(socket.socket(fileno=inherited[0]))
        return cls(_listen(settings.dago_http_host, settings.dago_http_port))

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(one for one in (self.http,) if one is not None)

    @property
    def port(self) -> int:
        """Of HTTP; 0: none."""
        return 0 if self.http is None else int(self.http.getsockname()[1])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        problem = f"{host}:{port} can't be listened on ({reason})."
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ConfigError("DAGO_HTTP_HOST", problem, "Name an address of this machine, or 0.0.0.0.") from None
        raise ConfigError("DAGO_HTTP_PORT", problem, "Choose another port, or 0 for any free one.") from None
