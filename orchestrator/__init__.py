"""The orchestrator: graphs in, events and results out for people and programs, over HTTP, WebSocket and gRPC."""
