"""What faces people and other programs: graphs in, events and results out, over HTTP, WebSocket and gRPC."""
