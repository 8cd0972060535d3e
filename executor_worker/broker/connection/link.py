"""
One connection to Redis, and the one border where its errors become ours.

It sends and waits; it never tries anything a second time by itself, but for a script that the server
certainly has not run. After any doubt about what is still to come on the line the line is closed:
a reply can never be taken for the answer to another question.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from executor_worker.broker.connection.command import Word, in_full, pack
from executor_worker.broker.connection.dial import Dialler
from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.replies import Misplaced, NoScript, error_of
from executor_worker.broker.connection.script import Script
from executor_worker.errors import StreamError, StreamRefused, StreamUnavailable
from executor_worker.network_errors import reason_of

BUFFER_BYTES = 65536
TIMEOUT_S = 5.0

_MISSING: Any = object()

Renew = Callable[[Endpoint, StreamRefused], Endpoint | None]
"""Answers a refusal at the endpoint with one to try instead; None if there is none."""


class Link:
    """
    Connects at first use and again after every error; used by one thread, and by the process that first used it.

    Args:
        name: Shown in CLIENT LIST.
        timeout_s: For connecting, for sending, and for each wait for more of a reply.
        renew: Asked when the server refuses us, whose password may have been changed; None: it stays.

    Attributes:
        timeout_s: Seconds.
        client_id: The connection's own number at the server; 0 while not connected or not told.
        answered_at: When the last reply was read, in seconds on the monotonic clock.
    """

    def __init__(
        self, endpoint: Endpoint, *, name: str = "", timeout_s: float = TIMEOUT_S, renew: Renew | None = None
    ) -> None:
        self.endpoint = endpoint
        self.client_id = 0
        self.answered_at = 0.0
        self._name = name
        self._renew = renew
        self.timeout_s = timeout_s
        self._dialler = Dialler(endpoint, timeout_s)
        self._sock: socket.socket | None = None
        self._reader: Any = None
        self._buffer = bytearray(BUFFER_BYTES)
        self._owed = 0  # replies still to come for what was sent
        self._unwanted = 0  # so many of those that come first are not waited for

    @property
    def connected(self) -> bool:
        return self._sock is not None

    @property
    def peer(self) -> tuple[Any, ...]:
        """Address of the server's socket; empty while not connected, or if it is a file."""
        found = self._sock.getpeername() if self._sock is not None else ()
        return found if isinstance(found, tuple) else ()

    def fileno(self) -> int:
        """
        Raises:
            StreamUnavailable: Not connected.
        """
        if self._sock is None:
            raise StreamUnavailable("not connected to Redis")
        return self._sock.fileno()

    def another(self, timeout_s: float | None = None) -> Link:
        """Make one more link to the same endpoint, not connected yet."""
        return Link(self.endpoint, name=self._name, timeout_s=timeout_s or self.timeout_s, renew=self._renew)

    def connect(self) -> None:
        """
        Connect and say who we are; nothing to do if that is done.

        Raises:
            StreamUnavailable: No server answers, or it is still loading.
            StreamRefused: Wrong password, untrusted certificate, no permission.
        """
        if self._sock is not None:
            return
        try:
            self._connect()
        except StreamRefused as refused:
            endpoint = self._renew(self.endpoint, refused) if self._renew is not None else None
            if endpoint is None:
                raise
            self.endpoint, self._dialler = endpoint, Dialler(endpoint, self.timeout_s)
            self._connect()

    def _connect(self) -> None:
        try:
            self._sock = self._dialler.dial()
        except OSError as error:
            raise StreamUnavailable(f"{self.endpoint} can't be reached: {reason_of(error)}") from error
        self._reader = hiredis.Reader(replyError=error_of, errors="replace", notEnoughData=_MISSING)
        try:
            self._introduce()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        sock, self._sock, self._reader = self._sock, None, None
        self.client_id = self._owed = self._unwanted = 0
        if sock is not None:
            sock.close()

    def call(self, *words: Word, timeout_s: float | None = None) -> Any:
        """
        Send one command and return its reply: bytes, int, None or lists of them.

        Raises:
            StreamUnavailable: No reply, or one that says not now. After no reply it may have been done all the same.
            StreamRefused: Redis answers, but not to us.
        """
        self.send(words)
        return self.read(timeout_s)

    def batch(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send several commands at once; an error reply stands in the list as an exception, not raised."""
        if not commands:
            return []
        self._write(b"".join(pack(tuple(command)) for command in commands), replies=len(commands))
        return [self._receive(self.timeout_s) for _ in commands]

    def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word]) -> Any:
        """Run a script by its name; one the server has forgotten is sent again in full."""
        self.send((b"EVALSHA", script.sha, len(keys), *keys, *args))
        try:
            return self.read()
        except NoScript:
            self._write(*in_full(script, keys, args))
            return self.read()

    def send(self, words: Sequence[Word]) -> None:
        """Send one command; its reply has to be fetched by `read` before anything else is sent."""
        self._write(pack(tuple(words)))

    def cast(self, packed: bytes) -> None:
        """Send one packed command whose answer is not waited for; without a line, or if it breaks, it is not sent."""
        if self._sock is None or self._owed:
            return
        try:
            self._sock.sendall(packed)
        except OSError:
            self.close()
        except BaseException:
            self.close()
            raise
        else:
            self._unwanted += 1

    def read(self, timeout_s: float | None = None) -> Any:
        """Fetch the reply to what was sent; waits *timeout_s*, else as long as the link is told to."""
        reply = self._receive(self.timeout_s if timeout_s is None else timeout_s)
        if isinstance(reply, StreamError):
            raise reply
        return reply

    def poll(self, other_fd: int, timeout_s: float) -> tuple[Any, bool]:
        """
        Wait for the reply to what was sent, for *other_fd* to become readable, or for time to pass.

        Returns:
            The reply (`Link.NOTHING` if it is not complete yet; error replies are raised) and whether
            *other_fd* is readable.
        """
        sock = self._sock
        assert sock is not None
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        poller.register(other_fd, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(max(timeout_s, 0.0) * 1000)]
        reply = self._receive_now() if any(fd != other_fd for fd in ready) else self.NOTHING
        if isinstance(reply, StreamError):
            raise reply
        return reply, other_fd in ready

    def arrived(self) -> list[Any]:
        """
        Fetch what has come by itself since, without waiting: messages of channels subscribed to.

        Raises:
            StreamUnavailable: The connection is lost.
        """
        if self._sock is None:
            raise StreamUnavailable("not connected to Redis")
        messages = []
        while (reply := self._receive_now()) is not _MISSING:
            if isinstance(reply, StreamError):
                raise reply
            messages.append(reply)
        return messages

    NOTHING: Any = _MISSING

    # -- the line -----------------------------------------------------------------------------------

    def _write(self, packed: bytes, *more: bytes, replies: int = 1) -> None:
        if self._owed:
            self.close()  # the last caller was interrupted before the answer came
        if self._sock is None:
            self.connect()
            assert self._sock is not None
        self._owed = replies
        try:
            self._sock.sendall(packed)
            for part in more:
                self._sock.sendall(part)
        except OSError as error:
            self.close()
            raise StreamUnavailable(f"lost {self.endpoint} while sending: {reason_of(error)}") from error
        except BaseException:
            self.close()
            raise

    def _receive(self, timeout_s: float) -> Any:
        """The next reply; an error reply is returned, and whatever makes the line unusable is raised."""
        sock, gets = self._sock, self._reader.gets if self._reader is not None else None
        if sock is None or gets is None:
            raise StreamUnavailable("not connected to Redis")
        try:
            if timeout_s != self.timeout_s:
                sock.settimeout(timeout_s)
            while (reply := gets()) is _MISSING or self._unwanted:
                if reply is _MISSING:
                    self._feed(sock)
                else:
                    self._unwanted -= 1
            if timeout_s != self.timeout_s:
                sock.settimeout(self.timeout_s)
        except BaseException as error:
            raise self._broken(error) from error
        return self._arrived(reply)

    def _receive_now(self) -> Any:
        """The next reply if it is all there, else `_MISSING`; a TLS record may hold none of it."""
        assert self._sock is not None
        try:
            reply = self._wanted(self._reader.gets)
            self._sock.settimeout(0)
            try:
                while reply is _MISSING:
                    self._feed(self._sock)
                    reply = self._wanted(self._reader.gets)
            finally:
                self._sock.settimeout(self.timeout_s)
        except (BlockingIOError, ssl.SSLWantReadError):
            return _MISSING
        except BaseException as error:
            raise self._broken(error) from error
        return self._arrived(reply)

    def _wanted(self, gets: Callable[[], Any]) -> Any:
        """The next reply that a caller waits for; those of casts come before it."""
        reply = gets()
        while self._unwanted and reply is not _MISSING:
            self._unwanted -= 1
            reply = gets()
        return reply

    def _arrived(self, reply: Any) -> Any:
        self.answered_at = time.monotonic()
        if self._owed:
            self._owed -= 1
        if isinstance(reply, Misplaced):
            self.close()
        return reply

    def _feed(self, sock: socket.socket) -> None:
        count = sock.recv_into(self._buffer)
        if not count:
            raise ConnectionResetError("it closed the connection")
        self._reader.feed(self._buffer, 0, count)

    def _broken(self, error: BaseException) -> BaseException:
        """Close the line; foreign errors become ours, interrupts stay what they are."""
        self.close()
        if isinstance(error, TimeoutError):
            return StreamUnavailable(f"no answer from {self.endpoint}")
        if isinstance(error, OSError | hiredis.HiredisError):
            return StreamUnavailable(f"lost {self.endpoint}: {reason_of(error)}")
        return error

    def _introduce(self) -> None:
        """Log in and choose the database; one round trip."""
        endpoint = self.endpoint
        login: list[tuple[Word, ...]] = []
        if endpoint.password or endpoint.user:
            login.append(("AUTH", *((endpoint.user,) if endpoint.user else ()), endpoint.password or ""))
        if endpoint.db:
            login.append(("SELECT", endpoint.db))
        replies = self.batch([*login, ("CLIENT", "SETNAME", _one_word(self._name)), ("CLIENT", "ID"), ("ROLE",)])
        for command, reply in zip(login, replies, strict=False):
            if isinstance(reply, StreamRefused) and command[0] == "SELECT":
                raise StreamRefused(f"{endpoint}: {reply}") from reply
            if isinstance(reply, StreamError):
                raise reply
        client_id, role = replies[-2:]
        self._check_usable(client_id)
        self.client_id = client_id if isinstance(client_id, int) else 0
        if endpoint.service is not None and isinstance(role, list) and role[0] != b"master":
            raise StreamUnavailable(f"{endpoint}: the primary that the sentinel named is a {role[0].decode()} now")

    def _check_usable(self, reply: Any) -> None:
        """A user who may not ask for its number can do without; one who is not logged in can do nothing."""
        if isinstance(reply, StreamError) and "NOPERM" not in str(reply):
            raise reply


def _one_word(name: str) -> str:
    """Write a name as CLIENT SETNAME takes it: visible ASCII."""
    return "".join(c if "!" <= c <= "~" else "-" for c in name)


__all__ = ["TIMEOUT_S", "Link", "StreamRefused", "Word"]
