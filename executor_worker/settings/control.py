"""The control address of a pool: known without reading its settings, which may be what is wrong."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from pathlib import Path

from executor_worker.settings.sources import settings_file

FILE = "ctl.sock"
LONGEST_NAME = 100  # bytes; the kernel takes 107 with the leading zero


def default_worker_id() -> str:
    return f"executor-{socket.gethostname()}"


def control_address(chosen: str, worker_id: str, environ: Mapping[str, str]) -> str:
    """
    Returns:
        *chosen*, else the file in the folder that systemd has made for this unit, else an abstract name, which leaves
        nothing behind and works even if nothing can be written.
    """
    folder = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if chosen or folder:
        return chosen or f"{folder}/{FILE}"
    name = f"@executor-worker/{worker_id}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"@executor-worker/{hashlib.sha256(worker_id.encode()).hexdigest()}"


def find_control(environ: Mapping[str, str], cwd: Path | None = None) -> str:
    """Find the control address of the pool with the settings of *environ* and its settings file."""
    return control_address(
        given("CTL_SOCKET", environ, cwd), given("WORKER_ID", environ, cwd) or default_worker_id(), environ
    )


def given(variable: str, environ: Mapping[str, str], cwd: Path | None = None) -> str:
    """Read one setting, whatever is wrong with the others; empty if it is not set."""
    known = {**settings_file(environ, cwd or Path.cwd(), []), **{name: text for name, text in environ.items() if text}}
    return known.get(variable, "").strip()
