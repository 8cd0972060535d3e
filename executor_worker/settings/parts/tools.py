"""Settings of the tools that nodes call."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor_worker.settings import kinds
from executor_worker.settings.hosts import hosts
from executor_worker.settings.parts.part import Part, Text


class ToolFields(Part):
    """The tools' part of `Settings`."""

    mcp_servers: Annotated[
        tuple[str, ...],
        kinds.urls("a list of http:// or https:// URLs", "search=https://host/mcp", kinds.is_named_url),
    ] = Field(
        (),
        description="MCP servers: comma-separated URLs or `name=url`; without a path `/mcp` and `/sse` are tried too",
    )
    mcp_config: Text = Field("", description='Path of a JSON file in the usual `{"mcpServers": {…}}` form')
    tool_modules: Annotated[
        tuple[str, ...], kinds.words("a list of Python module names", "my_tools,acme.tools", kinds.is_module)
    ] = Field((), description="Comma-separated Python modules with functions marked `@tool`")
    tool_timeout: Annotated[float, kinds.duration(0.1, "5m")] = Field(300.0, description="For one tool call")
    tool_result_chars: Annotated[int, kinds.whole(500, 10**9, 40_000)] = Field(
        40_000, description="Characters of one tool result that an agent's model is shown; it can read on"
    )
    api_tools_url: Annotated[str, kinds.url()] = Field(
        "", description="Legacy REST tools; deprecated, serve them over MCP instead"
    )
    http_allow: Annotated[tuple[str, ...], hosts()] = Field(
        (),
        description="Hosts that the built-in tool `http_request` may reach; what is not public by address or network"
        " too; empty: no such tool",
    )
