"""Processes of ours beside the workers, which end when their stdin does."""

from __future__ import annotations

import subprocess
from contextlib import suppress


def end_by_stdin(process: subprocess.Popen[bytes], leave_s: float) -> None:
    """Close the stdin of *process* and wait for its end; kill it if that takes longer than *leave_s*."""
    assert process.stdin is not None, "it is started with a pipe"
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(leave_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
