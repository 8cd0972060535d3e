"""
Tools: what a tool node calls by name and an agent by its own choice.

`@tool` marks Python functions as such:

    from executor_worker.tools import tool

and `log` takes what they have to say:

    from executor_worker.tools import log
"""

from __future__ import annotations

from executor_worker.tools.base import Answer, Effects, Log, Tool, Toolbox, ToolContext, silent
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.functions.loading import load_functions, modules_starting_threads
from executor_worker.tools.functions.marks import tool
from executor_worker.tools.logger import log
from executor_worker.tools.mcp_config import load_servers
from executor_worker.tools.registry import ToolRegistry
from executor_worker.tools.settings import ToolSettings

__all__ = [
    "Answer",
    "Effects",
    "FunctionTool",
    "Log",
    "Tool",
    "ToolContext",
    "ToolRegistry",
    "ToolSettings",
    "Toolbox",
    "load_functions",
    "log",
    "modules_starting_threads",
    "preload",
    "tool",
]


def preload(settings: ToolSettings, _log: Log = silent) -> None:
    """
    Import before forking what the configured tools need, and warn of what is deprecated.

    Raises:
        ConfigError: MCP_SERVERS or MCP_CONFIG can't be used.
    """
    if load_servers(settings.mcp_servers, settings.mcp_config, settings.environ):
        from executor_worker.tools.mcp.http import ssl_context  # heavy: only if a server is configured

        ssl_context()
    if settings.api_tools_url:
        import executor_worker.tools.rest  # noqa: F401 - heavy: only if it is configured

        _log("warn", "rest_tools.deprecated", variable="API_TOOLS_URL", fix="serve these tools over MCP")
