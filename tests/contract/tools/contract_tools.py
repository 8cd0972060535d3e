"""Functions for TOOL_MODULES, one for each way a tool can behave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from executor_worker.tools import tool


@tool
def give_back(value: Any) -> Any:
    """Return what it is given."""
    return value


@tool(description="Add two whole numbers")
def plus(a: int, b: int = 10) -> int:
    return a + b


@tool(name="renamed", effects="none")
def its_own_name() -> str:
    return "found by its other name"


@tool
def complain(message: str) -> str:
    """Fail with a message."""
    raise RuntimeError(message)


@tool
def give_object() -> Any:
    """Return what is no JSON."""
    return object()


@tool
def give_nan() -> float:
    """Return what looks like JSON and is none."""
    return float("nan")


@tool(timeout=300)
def wait_for_file(path: str) -> str:
    """Keep the worker busy until somebody makes a file."""
    while not Path(path).exists():
        time.sleep(0.01)
    return "it came"


@tool(timeout=0.3)
def too_slow() -> str:
    """Outlast its own time."""
    time.sleep(60)
    return "never"


def unmarked() -> str:
    return "no tool"


@tool
def dig(depth: int) -> Any:
    """Return lists within lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@tool
def die() -> str:
    """End the worker's process."""
    os._exit(7)


@tool
def die_unless(path: str) -> str:
    """End the worker's process unless a file is there."""
    if not Path(path).exists():
        os._exit(7)
    return "alive"


@tool(effects="none")
def fail_unless(path: str) -> str:
    """Fail unless a file is there."""
    if not Path(path).exists():
        raise RuntimeError("it is not there")
    return "there"


@tool(effects="none")
def fail_times(path: str, times: int) -> int:
    """Fail so often; what is counted is in a file, a letter for each call."""
    with Path(path).open("a") as file:
        file.write("x")
    calls = Path(path).stat().st_size
    if calls <= times:
        raise RuntimeError(f"call {calls} fails")
    return calls


@tool(effects="none")
def fare(path: str, fares: str) -> int:
    """Fare as told for each call: killed with the worker (k), failed (f), else well."""
    with Path(path).open("a") as file:
        file.write("x")
    calls = Path(path).stat().st_size
    how = fares[calls - 1 : calls]
    if how == "k":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "f":
        raise RuntimeError(f"call {calls} fails")
    return calls


@tool(retry={"max_attempts": 3, "delay": 0.05})
def fail_twice(path: str) -> int:
    """Fail two times; asks to be called again."""
    return fail_times(path, 2)
