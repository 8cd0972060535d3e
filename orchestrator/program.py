"""The orchestrator's part of a pool's program: its API processes, prepared before the first fork."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.settings import Settings
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from orchestrator.api_processes import ApiServices
from orchestrator.listening import Listening
from orchestrator.service.rules import Renders, Rules
from orchestrator.settings import api_settings
from supervisor.scoreboard.scoreboard import Row, Scoreboard


def prepare(
    settings: Settings,
    endpoint: Endpoint,
    pool: Scoreboard,
    render: Renders,
    config: Callable[[dict[str, Any]], object],
    retired: Callable[[str], str | None],
    inherited: tuple[int, ...] = (),
    *,
    alone: bool = False,
    tracing: Callable[[Settings, str], Tracing] = lambda *_: NO_TRACING,
) -> ApiServices:
    """
    Bind the API's ports and make its services.

    Args:
        render, config, retired: See `service.rules.Rules`.
        inherited: Descriptors of a predecessor's sockets; empty: there is none.
        alone, tracing: See `ApiServices`.

    Raises:
        ConfigError: The settings can't be used, or a port can't be listened on.
    """
    api_settings(settings)  # before anything is bound
    rules = Rules(render, config, retired)
    return ApiServices(
        settings, endpoint, Listening.of(settings, inherited), pool, rules, _run, alone=alone, tracing=tracing
    )


def _run(services: ApiServices, row: Row) -> int:
    """Serve; imported only here, after the fork: what it imports may start threads."""
    status: int = importlib.import_module("orchestrator.process").run(services, row)
    return status
