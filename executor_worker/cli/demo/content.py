"""What `executor-worker demo` runs: a graph, a script for its model, and a real MCP server."""
