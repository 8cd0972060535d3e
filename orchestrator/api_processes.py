"""The API as a pool's services: made once before the first fork, run in each API process after it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.errors import ConfigError
from executor_worker.settings import Settings
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from orchestrator.listening import Listening
from orchestrator.service.rules import Rules
from orchestrator.settings import ApiSettings, api_settings
from supervisor.scoreboard.scoreboard import Row, Scoreboard

MOST_PROCESSES = 64


class ApiServices:
    """
    Args:
        listening: The sockets, which outlive each API process.
        pool: The workers' scoreboard.
        rules: Of those who run nodes.
        run: Serves in an API process until asked to leave; returns the exit status.
        alone: There is no other page for what the keeper counts.
        tracing: Makes what traces a process, of the settings and its name.

    Attributes:
        count: API processes wanted.
        tracing: Makes what traces a process, by its name.
        board: Their scoreboard.

    Raises:
        ConfigError: The settings can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        listening: Listening,
        pool: Scoreboard,
        rules: Rules,
        run: Callable[[ApiServices, Row], int],
        *,
        alone: bool = False,
        board: Scoreboard | None = None,
        tracing: Callable[[Settings, str], Tracing] = lambda *_: NO_TRACING,
    ) -> None:
        self.settings: ApiSettings = api_settings(settings)
        self.endpoint = endpoint
        self.listening = listening
        self.pool = pool
        self.rules = rules
        self._run = run
        self.alone = alone
        self.tracing = partial(tracing, settings)
        self._tracing = tracing
        self.count = settings.api_processes
        self.board = Scoreboard(MOST_PROCESSES, hidden=True) if board is None else board
        self.name = settings.worker_id
        self.tls = (settings.api_tls_cert, settings.api_tls_key) if settings.api_tls_cert else None
        self.drain_s = settings.drain_timeout
        if self.tls is not None:
            _check_tls(*self.tls)

    def renewed(self, settings: Settings, endpoint: Endpoint) -> ApiServices:
        """
        Make the same with other settings, for a reload; the sockets stay.

        Raises:
            ConfigError: They can't be used.
        """
        return ApiServices(
            settings,
            endpoint,
            self.listening,
            self.pool,
            self.rules,
            self._run,
            alone=self.alone,
            board=self.board,
            tracing=self._tracing,
        )

    def serve(self, row: Row) -> int:
        """In an API process: serve until asked to leave; returns the exit status."""
        return self._run(self, row)


def _check_tls(cert: str, key: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        problem = f"{cert!r} with the key {key!r} can't be used ({error.strerror or error})."
        fix = "Name a PEM file with the certificate and its chain, and one with its private key."
        raise ConfigError("API_TLS_CERT", problem, fix) from None
