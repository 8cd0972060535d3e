"""Registries, our own MCP servers, a log that can be read: those of the unit tests."""

from __future__ import annotations

from tests.unit.executor_worker.tools.conftest import (
    log,
    make_registry,
    odd,
    own_server,
    own_stdio,
    run_context,
    told,
)

__all__ = ["log", "make_registry", "odd", "own_server", "own_stdio", "run_context", "told"]
