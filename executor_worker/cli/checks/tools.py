"""Can the tools' modules be imported, do the MCP servers answer?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.errors import ConfigError
from executor_worker.program.wiring import tool_registry
from executor_worker.settings import Settings
from executor_worker.tools import ToolRegistry, modules_starting_threads
from executor_worker.tools.functions.loading import tools_of_module
from executor_worker.tools.mcp_config import server_names


def check_tools(settings: Settings) -> Iterator[Finding]:
    try:
        modules_starting_threads(settings.tool_modules)  # in a child: one that ends the process would end us
        registry = tool_registry(settings)
    except ConfigError as error:
        yield from_error(error)
        return
    for module in settings.tool_modules:
        yield _brings(module)
    with closing(registry):
        for server, answered, said in registry.probe():
            if answered:
                yield ok(_variable(settings, server), f"server {server} answers: {said}")
            else:
                reason = said.rstrip(".")
                advice = "start it, or correct its address or command"
                yield fix(_variable(settings, server), f"server {server} can't be reached: {reason}; {advice}.")
        for server, tool, reason in registry.left_out():
            advice = "have it corrected, or leave it out by `disabledTools`"
            yield fix(_variable(settings, server), f"server {server}, tool {tool} can't be used: {reason}; {advice}.")
        yield from _replaced(registry)


def _brings(module: str) -> Finding:
    names = sorted(tool.name for tool in tools_of_module(module))
    if not names:
        return fix("TOOL_MODULES", f"{module} brings no tool; mark its functions with @tool, or take it out.")
    return ok("TOOL_MODULES", f"{module} brings {len(names)} tool{'s' if len(names) > 1 else ''}: {', '.join(names)}")


def _replaced(registry: ToolRegistry) -> Iterator[Finding]:
    for name, source, others in registry.replaced():
        if source.startswith("mcp ") and others.startswith("mcp "):
            yield ok("tools", f"{name} is offered by {source} and {others}; it is called by the server's name too")
        else:
            yield ok("tools", f"{name} is that of {source}, which replaces that of {others}")


def _variable(settings: Settings, server: str) -> str:
    """Name the setting that *server* comes from; it goes by a name of that setting's own if it is no MCP server."""
    if server == "API_TOOLS_URL":
        return server
    return "MCP_SERVERS" if server in server_names(settings.mcp_servers) else "MCP_CONFIG"
