"""Tools of MCP servers. Importing this room loads the SDK: done only if a server is configured."""

from executor_worker.tools.mcp.servers import McpServers

__all__ = ["McpServers"]
