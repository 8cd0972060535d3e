"""Tools for TOOL_MODULES of the pools in these tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from executor_worker.tools import tool


@tool
def sleeps(seconds: float = 0.0) -> float:
    """Sleep, interruptibly."""
    time.sleep(seconds)
    return seconds


@tool
def passes(value: Any = None) -> Any:
    """Return what it is given."""
    return value


@tool
def noted(file: str, text: str = "") -> int:
    """Write a line to *file*, and say how many there are then."""
    with Path(file).open("a") as out:
        out.write(f"{text}\n")
    return len(Path(file).read_text().splitlines())


@tool
def waits_for(file: str, note: str = "") -> str:
    """Write a line to *note*, then wait until *file* is there."""
    if note:
        with Path(note).open("a") as out:
            out.write("begun\n")
    while not Path(file).exists():
        time.sleep(0.01)
    return "there"


@tool
def fails_until(file: str, times: int) -> int:
    """Fail so many times, by what stands in *file*."""
    count = noted(file, "called")
    if count <= times:
        raise RuntimeError(f"failure number {count}")
    return count


@tool
def answers(file: str, answer: str) -> str:
    """Write a line to *file*, and return *answer*."""
    noted(file)
    return answer


@tool
def dies(file: str) -> str:
    """Kill the worker the first time."""
    if noted(file, "called") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


@tool
def kills() -> None:
    """Kill the worker each time."""
    os.kill(os.getpid(), signal.SIGKILL)


@tool
def blob(bytes_wanted: int) -> str:
    """Return a long text."""
    return "x" * bytes_wanted
