"""HTTP, server-sent events and WebSocket over the service."""
