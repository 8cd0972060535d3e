"""Content of `executor-worker demo`: a graph, a script for its model, and a real MCP server."""
