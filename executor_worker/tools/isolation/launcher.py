"""The worker's end of the process that isolated calls are forked from (see `zygote`)."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from executor_worker.errors import ToolFailed
from executor_worker.tools.isolation.handshake import READY

# The worker's own path: what it can import, that process can.
_BOOT = "import sys; sys.path[:] = sys.argv[5:]; from executor_worker.tools.isolation.zygote import main; main()"
_EARLY = "early"
_CHUNK = 1 << 16  # bytes
_MOST_OUTPUT = 1 << 16  # bytes of what a call prints that are shown
_KILL_SECONDS = 0.5


class NeverRead(Exception):
    """The process died before it had read the call: nothing of it was begun."""


class Launcher:
    """
    Starts the process; `ready` tells when it can take a call.

    To be made in the main thread: the process ends with the thread that has started it.

    Attributes:
        output_dropped: Bytes that the call in progress has printed and that were not shown.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        """
        Raises:
            ToolFailed: There is no room for a process, or this is no Linux.
        """
        if not hasattr(os, "memfd_create"):
            raise ToolFailed("isolated tools run on Linux only: run them in a container (compose.yaml)")
        self._ready = False
        self._problem = ""
        self._shown = 0
        self.output_dropped = 0
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        arguments = [str(theirs.fileno()), str(os.getpid()), json.dumps(list(modules)), _EARLY, *sys.path]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            self._close()
            raise ToolFailed(f"no process can be started for isolated tools: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(output)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ready(self, seconds: float) -> bool:
        """
        Wait for at most *seconds* until it has imported its modules.

        Raises:
            ToolFailed: It can't.
        """
        if not (self._ready or self._problem) and self.wait(seconds):
            said = self._receive()
            self._ready = said == READY.decode()
            self._problem = "" if self._ready else said or f"their process {self._epitaph()}"
        if self._problem:
            raise ToolFailed(f"isolated tools can't be run: {self._problem}")
        return self._ready

    def send(self, call: bytes, pipe: int) -> None:
        """
        Have a call made.

        Args:
            call: What to call, as JSON; see `zygote`.
            pipe: Where the call says what it has to say.

        Raises:
            NeverRead: It is dead already.
        """
        self._shown = self.output_dropped = 0
        request = os.memfd_create("call")
        with open(request, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(call)
            file.flush()
            os.lseek(request, 0, os.SEEK_SET)
            try:
                socket.send_fds(self._control, [b"call"], [request, pipe])
            except (BrokenPipeError, ConnectionResetError) as error:
                raise NeverRead from error

    def wait(self, seconds: float, pipe: int | None = None) -> bool:
        """Wait until there is a status, or something in *pipe*, passing on what is printed; True for a status."""
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._output, *(() if pipe is None else (pipe,))):
            poll.register(descriptor, select.POLLIN)
        heard = {descriptor for descriptor, _ in poll.poll(max(seconds, 0) * 1000)}
        if self._output in heard:
            self._pass_on_output()
        return self._control.fileno() in heard

    def status(self) -> str | None:
        """
        Say how the call's process ended if that was no good end; asked once `wait` has told of a status.

        Raises:
            NeverRead: The kernel says by a reset that what was sent is lost.
        """
        try:
            said = self._control.recv(8192).decode()
        except ConnectionResetError as error:
            raise NeverRead from error
        self._pass_on_output()
        if not said:
            return f"the process that isolated tools are started from {self._epitaph()}"
        code = int(said)
        return None if code == 0 else f"its process {_ended(code)}"

    def kill(self) -> None:
        """End whatever a call has started, in whatever session, then the process itself."""
        deadline = time.monotonic() + _KILL_SECONDS
        while (left := self._below()) and time.monotonic() < deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        self._process.kill()
        self._process.wait()
        self._pass_on_output()
        self._close()

    def close(self) -> None:
        """End it between calls."""
        self._control.close()
        self.kill()

    def _below(self) -> list[psutil.Process]:
        try:
            found = psutil.Process(self._process.pid).children(recursive=True) if self.alive else []
        except psutil.Error:
            return []
        return [process for process in found if _lives(process)]

    def _receive(self) -> str:
        try:
            return self._control.recv(8192).decode()
        except ConnectionResetError:
            return ""

    def _epitaph(self) -> str:
        return _ended(self._process.wait())

    def _pass_on_output(self) -> None:
        """Show on stderr what a call prints, up to a limit: more of it would only fill the log."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._output, _CHUNK):
                shown = chunk[: _MOST_OUTPUT - self._shown]
                self._shown += len(shown)
                self.output_dropped += len(chunk) - len(shown)
                with suppress(OSError):
                    os.write(2, shown)
                if len(chunk) < _CHUNK:
                    return

    def _close(self) -> None:
        self._control.close()
        os.close(self._output)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
