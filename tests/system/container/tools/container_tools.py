"""Tools for the pools in these tests' containers; what they leave a word in is the mounted folder /journal."""

from __future__ import annotations

import time
from pathlib import Path

from executor_worker.tools import tool

JOURNAL = Path("/journal")
PIECE = 8 * 2**20


@tool
def hold(mark: str) -> str:
    """Go on until the test lets it go."""
    (JOURNAL / f"{mark}.begun").touch()
    while not (JOURNAL / f"{mark}.go").exists():
        time.sleep(0.01)
    return "held"


@tool
def devour(mark: str) -> str:
    """Take memory until the kernel ends it; a second run takes none."""
    begun = JOURNAL / f"{mark}.begun"
    if begun.exists():
        return "survived"
    begun.touch()
    taken = []
    while True:
        taken.append(b"x" * PIECE)
