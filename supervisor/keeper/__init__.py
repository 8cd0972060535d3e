"""The keeper process: its loop and its HTTP server."""
