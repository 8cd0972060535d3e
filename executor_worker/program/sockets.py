"""Sockets that the supervisor keeps for its pool: where health is asked for, and where commands come in."""

from __future__ import annotations

import errno
import os
import socket

from executor_worker.errors import ConfigError
from executor_worker.settings import Settings
from executor_worker.settings.control import control_address
from executor_worker.telemetry import logs
from supervisor.control.control_socket import listen
from supervisor.upgrade import Inheritance

BACKLOG = 64  # connections waiting to be answered


def health_listener(settings: Settings, inheritance: Inheritance | None) -> socket.socket | None:
    """Bind the health port before the first fork, so that it stays ours whatever becomes of the keeper."""
    if inheritance is not None and inheritance.listen_fd is not None:
        return socket.socket(fileno=inheritance.listen_fd)
    if settings.health_port is None:
        return None
    family = socket.AF_INET6 if ":" in settings.health_host else socket.AF_INET
    try:
        return socket.create_server((settings.health_host, settings.health_port), family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.health_host}:{settings.health_port}"
        # `create_server` adds the address, once more.
        reason = str(error.strerror).partition(" (while")[0]
        problem = f"{where} can't be listened on ({reason})."
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ConfigError("HEALTH_HOST", problem, "Name an address of this machine, or 0.0.0.0 for all.") from None
        fix = "Choose another port, 0 for any free one, or leave it empty."
        raise ConfigError("HEALTH_PORT", problem, fix) from None


def control_listener(settings: Settings, inheritance: Inheritance | None) -> socket.socket | None:
    """Bind where commands come in; a pool that was not told where runs without it too."""
    if inheritance is not None and inheritance.control_fd is not None:
        return socket.socket(fileno=inheritance.control_fd)
    address = control_address(settings.ctl_socket, settings.worker_id, os.environ)
    try:
        made = listen(address)
    except OSError as error:
        problem = f"{address!r} can't be listened at ({error.strerror or error})."
        fix = "Name a path in a folder that this user can write to, or leave it out."
        if settings.ctl_socket:
            raise ConfigError("CTL_SOCKET", problem, fix) from None
        logs.warning("control.unavailable", problem=problem, advice="signals work; for `ctl` set CTL_SOCKET")
        return None
    logs.debug("control.listening", address=address)
    return made
