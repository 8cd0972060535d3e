"""
MCP servers over stdio that all workers of a pool share: `"shared": true` in MCP_CONFIG.

The keeper starts one process, the host, which starts each such server once and listens on a local socket; a worker
speaks over it as it would to a server of its own.
"""
