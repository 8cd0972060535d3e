"""Places in the project that tests name."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVERS = Path(__file__).with_name("servers")
"""MCP servers of our own, odd and modern ones."""
