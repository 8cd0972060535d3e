"""Settings of the tools' room."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """
    Attributes:
        mcp_servers: MCP_SERVERS: `url` or `name=url`.
        mcp_config: MCP_CONFIG: path of a JSON file; empty: none.
        tool_modules: TOOL_MODULES.
        tool_timeout_s: TOOL_TIMEOUT: for tools that declare no limit of their own.
        api_tools_url: API_TOOLS_URL; empty: none.
        http_allow: HTTP_ALLOW: hosts the built-in `http_request` may reach; empty: there is no such tool.
        environ: Where `${NAME}` in MCP_CONFIG is looked up, and what stdio servers get their PATH from.
    """

    mcp_servers: tuple[str, ...] = field(default=(), repr=False)  # may hold passwords, as URLs do
    mcp_config: str = ""
    tool_modules: tuple[str, ...] = ()
    tool_timeout_s: float = 300.0
    api_tools_url: str = field(default="", repr=False)
    http_allow: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
