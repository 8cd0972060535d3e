"""The pool as a child of ours: the real program, started, watched and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from executor_worker.broker.connection.embedded import die_with_parent
from executor_worker.settings import known_names

LEAVE_S = 15.0


class ChildPool:
    """
    `executor-worker run …` with its logs in a file.

    Args:
        settings: All it is told; what is set around us does not reach it.
        folder: Where it runs; its log goes there too.
    """

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        self.log = folder / "pool.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "executor_worker", "run", *arguments],
                env={**_environment(), **settings},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                # Ctrl-C is for us: we ask it to drain.
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The pool's exit status; None while it runs."""
        return self._process.poll()

    def drain(self) -> int | None:
        """Ask it to drain and wait for its end; return its exit status, None if it had to be killed."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self.drain() is None:
            self._process.kill()
            self._process.wait()

    def last_words(self, lines: int = 15) -> str:
        """Return the last *lines* of its log, without the program's name, which the caller that shows them says."""
        last = self.log.read_text("utf-8", "replace").splitlines()[-lines:]
        return "\n".join(line.removeprefix("executor-worker: ") for line in last)


def _environment() -> dict[str, str]:
    """Copy our environment without any setting of ours."""
    ours = known_names() | {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"ENV_FILE": os.devnull}
