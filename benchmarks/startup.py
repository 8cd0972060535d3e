"""From `run --workers 32` to READY, against the bare imports of what it is built on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.stage import pool_settings
from tests.kit import PROGRAM, Process, RedisServer, free_port, kill_all

IMPORTS = "anthropic, hiredis, jsonschema, loguru, orjson, prometheus_client, psutil, pydantic_settings, setproctitle"
LONGEST_S = 120.0


def measure(plan: Plan) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="ex-") as name, closing(RedisServer(Path(name))) as server:
        _imports_s()  # so that the files are in memory
        pairs = [(_imports_s(), _ready_s(Path(name), server, plan.workers)) for _ in range(plan.rounds)]
    bare, ours = [imports for imports, _ in pairs], [ready for _, ready in pairs]
    return [
        Figure.of("start: READY, of the bare imports'", [ready / imports for imports, ready in pairs], scale="ratio"),
        Figure.of(f"start: READY, {plan.workers} workers", ours, "s", scale="speed"),
        Figure.of("start: bare imports", bare, "s", scale="speed"),
        Figure.of(
            "start: READY beyond the imports",
            [ready - imports for imports, ready in pairs],
            "s",
            at_most=1.0,
            scale="speed",
        ),
    ]


def _imports_s() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {IMPORTS}"], check=True)
    return time.monotonic() - began


def _ready_s(folder: Path, server: RedisServer, workers: int) -> float:
    place = Path(tempfile.mkdtemp(dir=folder))
    port = str(free_port())
    model = {"LLM_PROVIDER": "anthropic", "LLM_API_KEY": "test-key", "HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": port}
    with _notified(place / "notify") as sock:
        env = {**pool_settings(place, server, workers), **model, "NOTIFY_SOCKET": str(place / "notify")}
        began = time.monotonic()
        process = Process([str(PROGRAM), "run", "--workers", str(workers)], env=env, cwd=place)
        try:
            while b"READY=1" not in sock.recv(4096).splitlines():
                pass
            return time.monotonic() - began
        finally:
            process.kill()
            kill_all(process.relatives())


@contextmanager
def _notified(path: Path) -> Iterator[socket.socket]:
    """Be the service manager that is told."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as sock:
        sock.bind(os.fsencode(path))
        sock.settimeout(LONGEST_S)
        yield sock
