"""
MCP over the stdin and stdout of a program started here.

Not the SDK's client: that one may take six seconds to end a server, reads lines of any length,
and never shows what a server said on stderr before it died.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO, Any

import anyio
from mcp.shared.message import SessionMessage

from executor_worker.tools.mcp.wire import (
    FLIGHT,
    LARGEST_MESSAGE,
    ConnectionLost,
    Flight,
    Outgoing,
    Writer,
    deliver,
    incoming,
)
from executor_worker.tools.mcp_config import Local, server_environment

if sys.platform != "win32":
    import fcntl
    import termios

_LEAVE_SECONDS = 0.5  # after its stdin was closed
_TERM_SECONDS = 0.5
_KILL_SECONDS = 1.0
_ASK_SECONDS = 0.02
_CHUNK = 1 << 18  # bytes
_LONGEST_STDERR_LINE = 8192  # bytes

OnLine = Callable[[str], None]


@asynccontextmanager
async def stdio(local: Local, environ: Mapping[str, str], on_stderr: OnLine) -> AsyncIterator[Any]:
    """
    Start the program and speak to it.

    Raises:
        ConnectionLost: It ended by itself, or can't be started.
    """
    if str(sys.platform) == "win32":  # its pipes can't be waited for together with all else
        raise ConnectionLost("MCP over stdio needs Linux or macOS: name the server by its URL", "it can't be started")
    with _Child(local, environ) as child:
        outgoing = _Stdin(child)
        writer, reader = incoming()
        async with writer, reader, anyio.create_task_group() as tasks:
            tasks.start_soon(_read_stderr, child, on_stderr)
            tasks.start_soon(_receive, child, outgoing, writer)
            try:
                yield reader, outgoing
            finally:
                with anyio.CancelScope(shield=True):  # a cancelled owner must not leave a process behind
                    await child.stop()
                tasks.cancel_scope.cancel()


class _Child:
    """
    The program: a process of its own session, its three pipes non-blocking.

    Plain `Popen` and not the event loop's: that one needs a thread for each child before Python 3.12,
    and waits for the processes that have inherited the pipes.
    """

    def __init__(self, local: Local, environ: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(
                [local.command, *local.args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=server_environment(local, environ),
                cwd=local.cwd,
                start_new_session=True,  # Ctrl-C on our terminal is not meant for it
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise ConnectionLost(f"{local.command!r} can't be started: {said}", "it can't be started") from error
        self._death = _Death(self._process) if hasattr(os, "pidfd_open") else _DeathByAsking(self._process)
        self.last_words = ""
        self.leaving = False
        self.stdin, self.stdout, self.stderr = (
            self._descriptor(pipe) for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        self._death.close()

    @staticmethod
    def _descriptor(pipe: IO[bytes] | None) -> int:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        return pipe.fileno()

    def is_dead(self) -> bool:
        """Ask the kernel: it knows before the pipes have told us."""
        return self._death.has_come()

    async def ended(self, seconds: float) -> bool:
        """Wait for its end and reap it."""
        with anyio.move_on_after(seconds):
            await self._death.wait()
        return self._process.poll() is not None

    def epitaph(self) -> ConnectionLost:
        """Say how it ended, with its last line on stderr."""
        status = self._process.returncode
        how = "it closed its stdout"
        if status is not None:
            how = f"it ended with status {status}" if status >= 0 else f"it was killed by signal {-status}"
        return ConnectionLost(f"{how}: {self.last_words[:300]}" if self.last_words else how, how)

    async def stop(self) -> None:
        """End it the protocol's way, by closing its stdin; then less kindly, with all it started in its session."""
        self.leaving = True
        if self._process.stdin is not None:
            anyio.notify_closing(self.stdin)
            self._process.stdin.close()
        for signum, seconds in ((0, _LEAVE_SECONDS), (signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            self._signal_session(signum)
            if await self.ended(seconds):
                break
        self._signal_session(signal.SIGKILL)

    def _signal_session(self, signum: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signum)


class _Death:
    """Tells of a process' end, by its pidfd."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._fd = os.pidfd_open(process.pid)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def has_come(self) -> bool:
        return bool(self._poll.poll(0))

    async def wait(self) -> None:
        await anyio.wait_readable(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class _DeathByAsking:
    """The same without pidfds: elsewhere than on Linux."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def has_come(self) -> bool:
        return self._process.poll() is not None

    async def wait(self) -> None:
        while not self.has_come():
            await anyio.sleep(_ASK_SECONDS)

    def close(self) -> None:
        """Hold nothing."""


class _Stdin(Outgoing):
    def __init__(self, child: _Child) -> None:
        super().__init__()
        self._child = child
        self._unsent = bytearray()  # outlives a cancelled send: half a line would spoil the next one
        self._turn = anyio.Lock()
        self._flight: Flight | None = None
        self._since = 0  # bytes written since the last call's line began

    async def _transmit(self, item: SessionMessage) -> None:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        async with self._turn:
            if self._child.leaving or self._child.is_dead():
                raise anyio.BrokenResourceError
            flight = FLIGHT.get()
            if flight is not None and flight is not self._flight:
                flight.sent = True
                self._flight, self._since = flight, -len(self._unsent)
            self._unsent += line
            try:
                await self._flush()
            except OSError as error:
                self.reconsider()
                raise anyio.BrokenResourceError from error

    async def _flush(self) -> None:
        while self._unsent:
            try:
                written = os.write(self._child.stdin, self._unsent[:_CHUNK])
                del self._unsent[:written]
                self._since += written
            except BlockingIOError:
                await anyio.wait_writable(self._child.stdin)

    def reconsider(self) -> None:
        """Now that the server reads no more: a call of which it has not read a byte was not sent."""
        unread = array("i", [0])
        fcntl.ioctl(self._child.stdin, termios.FIONREAD, unread)
        if self._flight is not None and unread[0] >= self._since:
            self._flight.sent = False


async def _receive(child: _Child, outgoing: _Stdin, writer: Writer) -> None:
    line: list[bytes] = []
    size = 0
    while chunk := await _read(child.stdout):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            message = outgoing.read(b"".join((*line, end)))
            if message is not None:
                await deliver(writer, message)
            line, size = [], 0
        line.append(rest)
        size += len(rest)
        if size > LARGEST_MESSAGE:
            problem = f"the server sent a message of over {LARGEST_MESSAGE >> 20} MiB"
            raise ConnectionLost(problem, problem)
    if not child.leaving:
        await child.ended(_KILL_SECONDS)
        outgoing.reconsider()
        raise child.epitaph()


async def _read_stderr(child: _Child, on_line: OnLine) -> None:
    rest = b""
    while chunk := await _read(child.stderr):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            text = line[:_LONGEST_STDERR_LINE].decode(errors="replace").strip()
            if text:
                child.last_words = text
                on_line(text)
        rest = rest[-_LONGEST_STDERR_LINE:]


async def _read(descriptor: int) -> bytes:
    """Read what there is; empty at the end."""
    while True:
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(descriptor)
        except OSError:
            return b""
