"""Loading before the first fork, once for all processes of a pool: tools, prices, scripts, and their faults."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from executor_worker.broker.connection.script import texts_kept
from executor_worker.broker.fleet.breakers import pool_scope
from executor_worker.broker.fleet.breakers import scripts as breaker_scripts
from executor_worker.broker.fleet.throttle import scripts as throttle_scripts
from executor_worker.broker.queue.group import group_script
from executor_worker.broker.queue.journal import journal_script
from executor_worker.broker.queue.park import park_script
from executor_worker.errors import ConfigError
from executor_worker.nodes.schema import precompile
from executor_worker.program.consumer import kinds_of, sources
from executor_worker.program.wiring import require_model, tool_settings, tracing_of
from executor_worker.providers import preload, retired
from executor_worker.providers.prices import Prices
from executor_worker.settings import Settings
from executor_worker.telemetry import logs
from executor_worker.tools import FunctionTool, ToolRegistry, load_functions, modules_starting_threads
from executor_worker.tools import preload as preload_tools
from executor_worker.tools.known_names import KnownNames
from executor_worker.tools.mcp_config import ServerConfig, load_servers
from executor_worker.tools.sharing.host_process import listen, shared


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    All that the processes of a pool share.

    Attributes:
        functions: Tools of TOOL_MODULES; None: each worker has to import them by itself.
        built_in: The tools that are always there; None: each worker makes them.
        tool_scopes: Of this pool's tools, as breakers tell them apart.
        tool_host: Where the host of shared MCP servers listens; None: there is none.
        known_names: Of what MCP servers have listed to any worker.
    """

    functions: list[FunctionTool] | None = None
    built_in: list[FunctionTool] | None = None
    function_names: list[str] = field(default_factory=list)
    servers: list[ServerConfig] = field(default_factory=list)
    tool_scopes: frozenset[str] = frozenset()
    tool_host: socket.socket | None = None
    prices: Prices = field(default_factory=Prices)
    known_names: KnownNames = field(default_factory=KnownNames)

    @property
    def shared(self) -> list[ServerConfig]:
        """The servers that the pool shares."""
        return shared(self.servers)

    def tool_names(self) -> list[str]:
        """Name the tools that items may name: functions, and what MCP servers have listed to any worker."""
        servers = self.known_names.read()
        listed = [(server, name) for server, names in servers.items() for name in names or ()]
        named = [*(name for _, name in listed), *(f"{server}.{name}" for server, name in listed)]
        return [*self.function_names, *named]

    def tool_registry(self, settings: Settings) -> ToolRegistry:
        """Make a worker's own; after fork only."""
        host = self.tool_host.getsockname() if self.tool_host is not None else None
        return ToolRegistry(tool_settings(settings), self.functions, logs.log, self.known_names, host, self.built_in)


def load(settings: Settings, tool_host: socket.socket | None) -> Loaded:
    """
    Load what all workers need, and find out what is wrong with it.

    Args:
        tool_host: Made by the program before this; None: there is none yet.

    Raises:
        ConfigError: The settings can't be used.
    """
    require_model(settings, os.environ)
    functions = _functions_of(settings)
    # Made once here so that what is wrong with them is said now, and not by every child.
    registry = ToolRegistry(tool_settings(settings), functions or (), log=logs.log)
    logs.hide(*registry.secrets)
    servers = load_servers(settings.mcp_servers, settings.mcp_config, os.environ)
    precompile(tool.input_schema for tool in registry.functions)
    loaded = Loaded(
        functions,
        registry.built_in,
        registry.function_names,
        servers,
        frozenset((pool_scope(settings.queues), *registry.scopes)),
        listen() if tool_host is None and shared(servers) else tool_host,
        Prices.load(settings.llm_prices),
    )
    _load_scripts(settings)
    for provider in (settings.llm_provider, *settings.fallback_providers):
        preload(provider)
    preload_tools(tool_settings(settings), logs.log)
    tracing_of(settings, settings.worker_id)
    _warn_of_retired_model(settings)
    return loaded


def _load_scripts(settings: Settings) -> None:
    if not (kinds := kinds_of(settings)):
        fix = "Name the queues to serve, or leave it out for the default one; or name roles in ROLES."
        raise ConfigError("QUEUES", "with none the workers have nothing to do.", fix)
    with texts_kept():
        sources(settings, kinds).load()
        group_script()
        journal_script()
        park_script()
        throttle_scripts()
        breaker_scripts()


def _functions_of(settings: Settings) -> list[FunctionTool] | None:
    """The function tools; None if importing them starts threads, so that each child has to import them itself."""
    threaded = modules_starting_threads(settings.tool_modules) if settings.tool_modules else []
    if threaded:
        logs.warning(
            "tool_module.threaded",
            modules=",".join(threaded),
            advice="it starts threads when imported, so each worker imports it by itself, which costs memory and time",
        )
        return None
    return load_functions(settings.tool_modules, log=logs.log)


def _warn_of_retired_model(settings: Settings) -> None:
    said = retired(settings.llm_model) if settings.llm_provider == "anthropic" else None
    if said:
        logs.warning("model.retired", model=settings.llm_model, advice=said)
