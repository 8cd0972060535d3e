"""Can the tools' modules be imported, do the MCP servers answer?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.cli.parts import tool_registry
from executor_worker.errors import ConfigError
from executor_worker.settings import Settings


def check_tools(settings: Settings) -> Iterator[Finding]:
    try:
        registry = tool_registry(settings)
    except ConfigError as error:
        yield from_error(error)
        return
    if settings.tool_modules:
        yield ok("TOOL_MODULES", f"{', '.join(settings.tool_modules)} can be imported")
    with closing(registry):
        for server, answered, said in registry.probe():
            if answered:
                yield ok(_variable(settings), f"server {server} answers: {said}")
            else:
                advice = "start it, or correct its address or command"
                yield fix(_variable(settings), f"server {server} can't be reached: {said.rstrip('.')}; {advice}.")


def _variable(settings: Settings) -> str:
    named = {
        "MCP_CONFIG": settings.mcp_config,
        "MCP_SERVERS": settings.mcp_servers,
        "API_TOOLS_URL": settings.api_tools_url,
    }
    return " or ".join(name for name, value in named.items() if value)
