"""
The program, already imported: commands that end by themselves are forked from here, each a process of its own.

To import the program and the SDKs takes a second and more, and the commands' tests run it hundreds of times. Those of
what it loads, of its start, of signals and of terminals start it as a person does.

    python warm.py SOCKET      serves; each request is one message: arguments, environment, folder; and 0, 1 and 2
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LARGEST = 1 << 20
PATIENCE_S = 120.0  # with what does not depend on the command
LIBRARIES = ("anthropic", "openai", "mcp", "redis", "jsonschema", "rich.console", "rich.table", "prometheus_client")


class WarmProgram:
    """The process that forks; ends with us."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={"PATH": os.environ["PATH"]})

    def run(
        self, arguments: list[str], *, env: dict[str, str], cwd: Path, fds: tuple[int, int, int], timeout: float
    ) -> int:
        """
        Run `executor-worker` with *arguments* to its end; returns its status, negative for a signal.

        Raises:
            TimeoutError: It did not end in time; it was killed.
        """
        request = json.dumps({"arguments": arguments, "env": env, "cwd": str(cwd)})
        socket.send_fds(self._line, [request.encode()], fds)
        self._line.settimeout(PATIENCE_S)
        pid = int(self._line.recv(LARGEST))
        self._line.settimeout(timeout)
        try:
            return int(self._line.recv(LARGEST))
        except TimeoutError:
            os.kill(pid, 9)
            self._line.settimeout(PATIENCE_S)
            self._line.recv(LARGEST)
            raise TimeoutError(f"executor-worker {' '.join(arguments)} did not end within {timeout:g} s") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._line.close()
        self._process.wait(PATIENCE_S)


def serve(line: socket.socket) -> None:
    """Fork one command after the other, until nobody asks any more."""
    while True:
        request, fds, _, _ = socket.recv_fds(line, LARGEST, 3)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            line.close()
            become(json.loads(request), fds)
        for fd in fds:
            os.close(fd)
        line.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        line.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Run the command as the installed script does, in this process."""
    from executor_worker.cli.main import main

    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    encoding = request["env"].get("PYTHONIOENCODING")
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", encoding=encoding)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace")
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["executor-worker", *request["arguments"]]
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the interpreter's own end would clear away all that was imported, page by page


def warm_up() -> None:
    """Import what any command may."""
    import executor_worker

    for module in pkgutil.walk_packages(executor_worker.__path__, "executor_worker."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)


if __name__ == "__main__":
    warm_up()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
