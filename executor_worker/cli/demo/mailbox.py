"""
The tools of the demo that is interrupted: a mail that must not be sent twice, and an outbox to look into.

For TOOL_MODULES. What was really sent is one line each in `outbox.txt`, in the folder the pool runs in.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from executor_worker.tools import tool

OUTBOX = Path("outbox.txt")
# Long enough to be interrupted.
TAKES_S = 0.8


@tool(effects="none")
def find_address(name: str) -> str:
    """Look up somebody's address."""
    time.sleep(TAKES_S)
    return f"{name.lower()}@example.com"


@tool(effects="unsafe")
def send_mail(to: str, text: str) -> str:
    """Send a mail; it is out at once, and confirmed after a while."""
    outbox = os.open(OUTBOX, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(outbox, f"{to}: {text}\n".encode())
    os.close(outbox)
    time.sleep(TAKES_S)
    return "confirmed"


@tool(effects="none")
def read_outbox() -> list[str]:
    """List what was sent."""
    time.sleep(TAKES_S)
    return OUTBOX.read_text().splitlines() if OUTBOX.exists() else []
