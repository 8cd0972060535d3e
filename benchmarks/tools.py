"""The tools of the benchmarks' pools."""

from __future__ import annotations

import os
import time
from pathlib import Path

from executor_worker.tools import tool


@tool(effects="idempotent")
def noop(text: str) -> str:
    """Answer at once."""
    return ""


@tool(effects="idempotent")
def clock() -> int:
    """Say when it was called, in nanoseconds on the monotonic clock, which all processes share."""
    return time.monotonic_ns()


@tool(effects="idempotent")
def stay(mark: str, seconds: float) -> str:
    """Write down when it was called and in which process (a file for each *mark*), then sleep."""
    line = f"{time.monotonic_ns()} {os.getpid()}\n"
    with (Path(os.environ["BENCH_FOLDER"]) / mark).open("a") as notes:
        notes.write(line)
    time.sleep(seconds)
    return ""
