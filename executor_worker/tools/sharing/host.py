"""
The process that shared MCP servers are children of: passes messages between them and any number of workers.

It is executed as a file by itself, with the standard library alone: so it takes 10 MiB and is there at once. A line on
stdin says what there is to serve (`Plan`); when stdin ends, it ends its servers and itself.

A worker's connection begins with a line naming its server; then both sides send JSON-RPC, a message a line, as over
stdio. Ids of a worker's requests, and its progress tokens, begin with a word that no other connection has: by it an
answer finds its way back. What is the session's and not one worker's is seen to here: the handshake is made once, and
its answer kept for later workers; what the server asks is answered. When a server ends, its connections are told why,
and which requests it may have got, and closed; the next worker has it started again.

From the moment it is to end it takes no connection: who comes then waits for the next host.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
from array import array
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypedDict

LARGEST_MESSAGE = 64 * 1024 * 1024  # bytes
ENDED = "dago/ended"  # the last message on a connection: `problem`, `reason`, `got` (ids that the server may have got)

_LONGEST_STDERR_LINE = 8192  # bytes
_AGAIN_SECONDS = 0.2  # between two starts of a server that ends at once
_DYING_SECONDS = 1.0
_TELLING_SECONDS = 0.3  # for the connections of a server that was ended to be told so
_LEAVING = ((0, 0.5), (signal.SIGTERM, 0.5), (signal.SIGKILL, 1.0))
_METHOD_NOT_FOUND = -32601
_PEER = struct.Struct("3i")  # pid, uid, gid

Message = dict[str, Any]


class Command(TypedDict):
    """The command that starts a server; `env` is all it gets."""

    command: str
    args: list[str]
    env: dict[str, str]
    cwd: str | None


class Plan(TypedDict):
    """The plan that the keeper asks for: the number of the socket that is listened on, and the servers by name."""

    listener: int
    servers: dict[str, Command]


class Leaving(Exception):
    """The host is about to end, and starts nothing."""


class Connection:
    """One worker's line to one server."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def send(self, line: bytes) -> None:
        """Pass a line on; a worker that has stopped reading loses its connection rather than hold up the others."""
        if self._writer.transport.get_write_buffer_size() > LARGEST_MESSAGE:
            self._writer.transport.abort()
        elif not self._writer.is_closing():
            self._writer.write(line)

    def close(self) -> None:
        self._writer.close()


class Server:
    """A server, started when the first worker needs it."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._connections: dict[str, Connection] = {}  # by the word that their ids begin with
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._begun_at = -_AGAIN_SECONDS
        self._last_words = ""
        self._pidfd = self._pipe = -1
        self._written = 0  # bytes, since it was started
        self._pending: dict[str, int] = {}  # requests by id, and where in what was written they begin
        self._handshake: Message | None = None  # the answer to `initialize`
        self._shaking: list[tuple[Connection, Any]] = []  # those who wait for it
        self._initialized = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False

    async def join(self, word: str, connection: Connection) -> None:
        """
        Raises:
            OSError, ValueError: It can't be started.
            Leaving: It will not be.
        """
        async with self._starting:
            if self._process is None and not self._leaving:
                await asyncio.sleep(max(self._begun_at + _AGAIN_SECONDS - asyncio.get_running_loop().time(), 0.0))
            if self._leaving:
                raise Leaving
            if self._process is None:
                await self._start()
        self._connections[word] = connection

    def part(self, word: str) -> None:
        """Forget a worker: what it still waits for is cancelled."""
        if self._connections.pop(word, None) is None:
            return
        self._shaking = [waiting for waiting in self._shaking if waiting[0] in self._connections.values()]
        for ident in [ident for ident in self._pending if _word(ident) == word]:
            del self._pending[ident]
            self._write(_line({"method": "notifications/cancelled", "params": {"requestId": ident}}))

    def from_worker(self, word: str, line: bytes) -> None:
        message = _read(line)
        connection = self._connections.get(word)
        if message is None or connection is None:
            return
        method, ident = message.get("method"), message.get("id")
        if method == "server/discover":  # the newest protocol's, whose messages are told apart by what is in them
            connection.send(_error(ident, _METHOD_NOT_FOUND, "a shared server is spoken to with a handshake"))
        elif method == "initialize":
            self._shake_hands(connection, ident, line)
        elif method == "notifications/initialized" and self._initialized:
            return
        elif method is not None:
            self._initialized = self._initialized or method == "notifications/initialized"
            if isinstance(ident, str):
                self._pending[ident] = self._written
            self._write(line)

    def _shake_hands(self, connection: Connection, ident: Any, line: bytes) -> None:
        if self._handshake is not None:
            connection.send(_line({**self._handshake, "id": ident}))
            return
        self._shaking.append((connection, ident))
        if len(self._shaking) == 1:
            self._pending[ident] = self._written
            self._write(line)

    def _from_server(self, line: bytes) -> None:
        message = _read(line)
        if message is None:
            if len(self._pending) == 1 and line.lstrip().startswith(b"{"):  # what can't be read can only be its answer
                self._pass_to(_word(self._pending.popitem()[0]), line)
            return
        ident, method = message.get("id"), message.get("method")
        if method is None:
            self._answered(ident, message, line)
        elif ident is not None:
            known = _line({"id": ident, "result": {}}) if method == "ping" else _error(ident, _METHOD_NOT_FOUND, "no")
            self._write(known)
        elif method == "notifications/progress":
            self._pass_to(_word((message.get("params") or {}).get("progressToken")), line)
        else:
            for connection in list(self._connections.values()):
                connection.send(line)

    def _answered(self, ident: Any, message: Message, line: bytes) -> None:
        if self._pending.pop(ident, None) is None:
            return
        if not any(ident == waiting for _, waiting in self._shaking):
            self._pass_to(_word(ident), line)
            return
        shaking, self._shaking = self._shaking, []
        self._handshake = message if "result" in message else None
        for connection, waiting in shaking:
            connection.send(_line({**message, "id": waiting}))

    def _pass_to(self, word: str, line: bytes) -> None:
        connection = self._connections.get(word)
        if connection is not None:
            connection.send(line)

    def _write(self, line: bytes) -> None:
        """Write to the server; what is not counted as written did not reach it."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing() or _is_dead(self._pidfd):
            return
        process.stdin.write(line)
        if not process.stdin.is_closing():
            self._written += len(line)

    async def _start(self) -> None:
        self._begun_at = asyncio.get_running_loop().time()
        command = self._command
        process = await asyncio.create_subprocess_exec(
            command["command"],
            *command["args"],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=command["env"],
            cwd=command["cwd"],
            limit=LARGEST_MESSAGE,
            start_new_session=True,  # Ctrl-C on the terminal is not meant for it
        )
        assert process.stdin is not None
        self._process, self._written, self._last_words = process, 0, ""
        self._pidfd = os.pidfd_open(process.pid)
        self._pipe = os.dup(process.stdin.transport.get_extra_info("pipe").fileno())  # outlives the transport
        self._pending, self._shaking, self._handshake, self._initialized = {}, [], None, False
        for task in (self._read_stderr(process), self._serve(process)):
            running = asyncio.create_task(task)
            self._tasks.add(running)
            running.add_done_callback(self._tasks.discard)

    async def _serve(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        how = ""
        try:
            while line := await process.stdout.readline():
                self._from_server(line)
        except ValueError:
            how = f"the server sent a message of over {LARGEST_MESSAGE >> 20} MiB"
        got = self._got(process)
        if not how:
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _DYING_SECONDS)
            await asyncio.sleep(0)  # its last words
            how = _epitaph(process.returncode)
        self._process = None
        os.close(self._pidfd)
        os.close(self._pipe)
        problem = f"{how}: {self._last_words[:300]}" if self._last_words else how
        params = {"problem": problem, "reason": how, "got": got}
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.send(_line({"method": ENDED, "params": params}))
            connection.close()
        await _end(process)

    def _got(self, process: asyncio.subprocess.Process) -> list[str]:
        """Name the requests of which it has read a byte, and which it has not answered."""
        assert process.stdin is not None
        waiting = process.stdin.transport.get_write_buffer_size()
        unread = array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(self._pipe, termios.FIONREAD, unread)
        read = self._written - waiting - unread[0]
        return [ident for ident, begins in self._pending.items() if begins < read]

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(_LONGEST_STDERR_LINE):
            lines = [line for line in chunk.decode(errors="replace").splitlines() if line.strip()]
            self._last_words = lines[-1].strip() if lines else self._last_words

    async def stop(self) -> None:
        self._leaving = True
        async with self._starting:  # one that is being started is ended too
            process = self._process
        if process is not None:
            await _end(process)
        if self._tasks:  # calls that it never got are made again by those who are told
            await asyncio.wait(self._tasks, timeout=_TELLING_SECONDS)


async def serve(plan: Plan, leave: Awaitable[Any]) -> None:
    """Serve until *leave* is done."""
    servers = {name: Server(command) for name, command in plan["servers"].items()}
    numbers = iter(range(1, sys.maxsize))
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with suppress(Leaving):
                await _talk(servers, f"{next(numbers)}", reader, writer)
        finally:
            talks.discard(task)
            writer.close()

    listener = socket.socket(fileno=plan["listener"])
    async with await asyncio.start_unix_server(talk, sock=listener, limit=LARGEST_MESSAGE) as door:
        await leave
        door.close()
        await asyncio.gather(*(server.stop() for server in servers.values()))
        for task in talks:
            task.cancel()


async def _talk(
    servers: dict[str, Server], number: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if not _may_enter(writer):
        return
    hello = _read(await reader.readline()) or {}
    server = servers.get(hello.get("server", ""))
    connection = Connection(writer)
    try:
        if server is None:
            raise ValueError("the pool does not share that server any more")
        await server.join(number, connection)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        problem = f"{hello.get('command', 'it')!r} can't be started: {said}" if isinstance(error, OSError) else said
        params: Message = {"problem": problem, "reason": "it can't be started", "got": []}
        connection.send(_line({"method": ENDED, "params": params}))
        return
    connection.send(_line({"word": number}))
    try:
        while line := await reader.readline():
            server.from_worker(number, line)
    except (ValueError, ConnectionError):
        return
    finally:
        server.part(number)


def _may_enter(writer: asyncio.StreamWriter) -> bool:
    """Let in processes of this user alone: the socket has no file whose rights could say so."""
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _PEER.unpack(peer)[1] in (os.getuid(), 0)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a server the protocol's way, by closing its stdin; then less kindly, with all it started in its session."""
    if process.stdin is not None:
        process.stdin.close()
    for number, seconds in _LEAVING:
        _signal_session(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)
            break
    _signal_session(process.pid, signal.SIGKILL)


def _is_dead(pidfd: int) -> bool:
    """Ask the kernel: it knows before the pipes have told us."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _signal_session(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _epitaph(status: int | None) -> str:
    if status is None:
        return "it closed its stdout"
    return f"it ended with status {status}" if status >= 0 else f"it was killed by signal {-status}"


def _word(ident: Any) -> str:
    return ident.partition(":")[0] if isinstance(ident, str) else ""


def _read(line: bytes) -> Message | None:
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _line(message: Message) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def _error(ident: Any, code: int, message: str) -> bytes:
    return _line({"id": ident, "error": {"code": code, "message": message}})


async def main(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    left = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, lambda: None)  # sent to a whole group, for the supervisor to heed

    class Stdin(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            left.set()

    await loop.connect_read_pipe(Stdin, sys.stdin)
    await serve(plan, left.wait())


def run(entry: Callable[[Plan], Any] = main) -> None:
    plan: Plan = json.loads(sys.stdin.buffer.readline())
    asyncio.run(entry(plan))


if __name__ == "__main__":
    run()
