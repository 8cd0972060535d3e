"""A tool whose worker dies in its first call, for TOOL_MODULES."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from executor_worker.tools import tool


@tool(effects="idempotent")
def die_once(mark: str) -> str:
    """Kill the worker, unless the file *mark* says that it was done."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"
