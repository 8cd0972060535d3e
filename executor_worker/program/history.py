"""The history in PostgreSQL, found by its name if it is installed, and the process of a pool that writes it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from executor_worker.broker.connection.link import Link
from executor_worker.child_process import end_by_stdin
from executor_worker.errors import ConfigError
from executor_worker.settings import Settings
from executor_worker.telemetry import logs

AGAIN_S = 3.0  # between two starts
LEAVE_S = 2.5
COMMAND = (sys.executable, "-P", "-m", "executor_worker", "history", "write", "--follow")


class History(Protocol):
    """See `orchestrator.history.commands`; what is asked of it raises HistoryUnavailable and HistoryRefused."""

    def migrate(self) -> list[str]: ...
    def missing(self) -> list[str]: ...
    def prune(self, older_s: float) -> int: ...
    def job(self, job_id: str) -> dict[str, Any] | None: ...
    def write(self, link: Link, name: str, ttl_s: float) -> int: ...
    def follow(self, link: Link, name: str, ttl_s: float) -> None: ...
    def close(self) -> None: ...


def history_of(settings: Settings) -> History:
    """
    Raises:
        ConfigError: DATABASE_URL is not set, or what it needs is not installed.
    """
    if not settings.database_url:
        raise ConfigError("DATABASE_URL", "it is not set: there is no history.", "Name a PostgreSQL database.")
    require_history()
    made: History = importlib.import_module("orchestrator.history.commands").PostgresHistory(settings.database_url)
    return made


def require_history() -> None:
    """
    Raises:
        ConfigError: What writes the history is not installed.
    """
    if importlib.util.find_spec("psycopg") is None:
        fix = "Install the extra: pip install 'da-node-executor[orchestrator]'."
        raise ConfigError("DATABASE_URL", "the history needs the package psycopg, which is not installed.", fix)


class HistoryProcess:
    """
    The writer as a child of the keeper: a database that hangs holds up nothing else.

    It reads its settings by itself, and ends when its stdin does.

    Args:
        redis: A private Redis, which the settings don't name; empty: they do.
    """

    def __init__(self, redis: str = "", command: Sequence[str] = COMMAND) -> None:
        self._redis = redis
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def tend(self) -> None:
        """Start the writer if there is none, or none any more."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            if time.monotonic() - self._started_at < AGAIN_S:
                return
            status = self._process.returncode
            logs.error("history.writer_died", status=status, advice="it is started again; what is to be written waits")
            self.close()
        environ = {**os.environ, **({"REDIS_ADDR": self._redis} if self._redis else {})}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environ, start_new_session=True
        )
        self._started_at = time.monotonic()
        logs.debug("history.writer_started", pid=self._process.pid)

    def close(self) -> None:
        """End it; what it had not written is written by the next."""
        process, self._process = self._process, None
        if process is not None:
            end_by_stdin(process, LEAVE_S)
