"""Graphs, pure: no Redis, no HTTP."""
