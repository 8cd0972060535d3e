"""The keeper's end of the host of shared MCP servers: starts it, starts it again, ends it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from executor_worker.child_process import end_by_stdin
from executor_worker.tools.base import Log
from executor_worker.tools.mcp_config import Local, ServerConfig, server_environment
from executor_worker.tools.sharing.host import Command, Plan

_HOST = Path(__file__).with_name("host.py")
_BACKLOG = 1024
_LEAVE_SECONDS = 2.5


def listen() -> socket.socket:
    """Make the socket that workers find the host at: one without a file, known to those who inherit it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")
    listener.listen(_BACKLOG)
    return listener


def shared(configs: Sequence[ServerConfig]) -> list[ServerConfig]:
    """Select the servers that the pool shares."""
    return [config for config in configs if isinstance(config.target, Local) and config.target.shared]


class HostProcess:
    """
    Args:
        configs: The shared servers.
        listener: From `listen`; workers that connect before the host is there wait.
    """

    def __init__(
        self, configs: Sequence[ServerConfig], listener: socket.socket, environ: Mapping[str, str], log: Log
    ) -> None:
        self._listener = listener
        self._log = log
        self._servers = {
            config.name: _command(config.target, environ) for config in configs if isinstance(config.target, Local)
        }
        self._process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        """Start the host if there is none, or none any more."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self._log("error", "shared_tools.died", status=self._process.returncode, advice="it is started again")
            self.close()
        plan: Plan = {"listener": self._listener.fileno(), "servers": self._servers}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_HOST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,  # signals for the pool's group are the supervisor's
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died: the next look says so
            self._process.stdin.write(json.dumps(plan).encode() + b"\n")
            self._process.stdin.flush()
        self._log("debug", "shared_tools.started", pid=self._process.pid, servers=len(self._servers))

    def close(self) -> None:
        """End it, and it ends its servers."""
        process, self._process = self._process, None
        if process is not None:
            end_by_stdin(process, _LEAVE_SECONDS)


def _command(local: Local, environ: Mapping[str, str]) -> Command:
    return {
        "command": local.command,
        "args": list(local.args),
        "env": server_environment(local, environ),
        "cwd": local.cwd or os.getcwd(),  # noqa: PTH109 - as text
    }
