"""Services beside the workers under the same supervisor; the orchestrator is found by its name, if it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from executor_worker.broker import Endpoint
from executor_worker.errors import ConfigError
from executor_worker.nodes import spec
from executor_worker.program.wiring import tracing_of
from executor_worker.providers import retired
from executor_worker.settings import Settings
from executor_worker.worker.output import rendered
from supervisor.scoreboard.scoreboard import Row, Scoreboard

NEEDED = ("starlette", "uvicorn", "uvloop", "httptools", "websockets", "grpc", "grpc_health", "grpc_reflection")


class Listening(Protocol):
    """The sockets that services listen on, made before the first fork."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    @property
    def ports(self) -> Mapping[str, int]: ...


class Services(Protocol):
    """
    Processes that serve others.

    Attributes:
        count: How many are wanted.
        board: Their scoreboard.
    """

    @property
    def count(self) -> int: ...
    @property
    def board(self) -> Scoreboard: ...
    @property
    def listening(self) -> Listening: ...

    def serve(self, row: Row) -> int:
        """In a service: serve until asked to leave; returns the exit status."""

    def renewed(self, settings: Settings, endpoint: Endpoint) -> Services:
        """
        Make the same with other settings.

        Raises:
            ConfigError: They can't be used.
        """


def api_services(
    settings: Settings, endpoint: Endpoint, pool: Scoreboard, inherited: tuple[int, ...] = (), *, alone: bool = False
) -> Services:
    """
    Make the orchestrator's API processes; see `orchestrator.program.prepare`.

    Raises:
        ConfigError: The settings can't be used, or what it needs is not installed.
    """
    missing = _missing()
    if missing:
        fix = "Install the extra: pip install 'da-node-executor[orchestrator]'."
        raise ConfigError("API", f"the API needs the package {missing[0]}, which is not installed.", fix)
    made: Services = importlib.import_module("orchestrator.program").prepare(
        settings, endpoint, pool, rendered, spec.read, _retired(settings), inherited, alone=alone, tracing=tracing_of
    )
    return made


def api_is_installed() -> bool:
    """Tell whether what the API needs is here."""
    return not _missing()


def _missing() -> list[str]:
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def _retired(settings: Settings) -> Callable[[str], str | None]:
    """Say when models end, if the SDK of their maker is loaded anyway: it alone knows."""
    return retired if settings.llm_provider == "anthropic" and settings.workers else lambda _: None
