"""Commands of the program that end by themselves."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.kit.pool import PROGRAM, Pool
from tests.kit.processes import Process


def run_program(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, given: str = "", seconds: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """
    Run `executor-worker` with *arguments* to its end, as pools are started: forked, or in `cold` tests executed.

    Args:
        env: Its environment, but for PATH and HOME.
        given: What it reads from its standard input.
        seconds: After which it is killed.

    Raises:
        subprocess.TimeoutExpired: It did not end in time.
    """
    with (
        tempfile.TemporaryFile("w+") as stdin,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        stdin.write(given)
        stdin.seek(0)
        streams = {"stdin": stdin.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        process = Process([PROGRAM, *arguments], env=env, cwd=cwd, warm=Pool.warm, **streams)
        try:
            status = process.wait(seconds)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([str(PROGRAM), *arguments], status, out.read(), err.read())
