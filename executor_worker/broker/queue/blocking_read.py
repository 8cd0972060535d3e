"""Blocking read: wait at the server for a new entry, until another process wakes us."""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.replies import GroupLost
from executor_worker.errors import StreamRefused, StreamUnavailable

UNBLOCK_S = 1.0  # a process that wakes us wants us soon


class BlockingRead:
    """
    XREADGROUP with BLOCK, which ends early when a descriptor becomes readable.

    One command reads for one group: if streams of several are read, each further group waits on a line of its own,
    and what one of them brings ends the waiting of the others.
    """

    def __init__(self, link: Link, consumer: str, groups: Mapping[str, Sequence[str]]) -> None:
        self._link = link
        self._commands = [_command(group, consumer, streams) for group, streams in groups.items()]
        self._lines = [link]

    @property
    def connected(self) -> bool:
        """Tell whether no line was dropped, and with it what may have come on it."""
        return all(line.connected for line in self._lines)

    def close(self) -> None:
        """Drop the further lines."""
        for line in self._lines[1:]:
            line.close()

    def read(self, wake_fd: int, block_s: float) -> Any:
        """
        Wait for an entry of one of the streams.

        Returns:
            The server's reply; None if nothing came. Then a line may have been dropped, and what came on it.

        Raises:
            StreamUnavailable: No reply, at the latest some seconds after *block_s*.
            GroupLost: There is no such group.
        """
        if readable(wake_fd):
            return None
        for line, words in zip(self._open_lines(), self._commands, strict=True):
            line.send([max(int(block_s * 1000), 1) if word is None else word for word in words])
        deadline = time.monotonic() + block_s + self._link.timeout_s
        waiting = list(self._lines)
        while (left := deadline - time.monotonic()) > 0:
            ready, woken = _ready(waiting, wake_fd, left)
            for line in ready:
                reply, _ = line.poll(wake_fd, 0)
                if reply is Link.NOTHING:
                    continue
                waiting.remove(line)
                if reply or not waiting:
                    return self._with_the_rest(reply, waiting)
            if woken:
                return self._with_the_rest(None, waiting)
        for line in self._lines:
            line.close()
        raise StreamUnavailable(f"no answer from {self._link.endpoint}")

    def _open_lines(self) -> list[Link]:
        while len(self._lines) < len(self._commands):
            self._lines.append(self._link.another())
        return self._lines

    def _with_the_rest(self, reply: Any, waiting: Sequence[Link]) -> Any:
        """Add to *reply* what the lines still *waiting* have got by now."""
        found = list(reply or ())
        free = [line for line in self._lines if line not in waiting and line.connected]
        for line in waiting:
            second = free[0] if free else self._link.another(UNBLOCK_S)
            try:
                found += self._unblock(line, second) or ()
            finally:
                if not free:
                    second.close()
        return found or None

    def _unblock(self, line: Link, second: Link) -> Any:
        """Make the server answer now; a line on which it doesn't is dropped."""
        try:
            if not line.client_id:
                raise StreamRefused("the user may not ask for its connection's number")
            second.call("CLIENT", "UNBLOCK", line.client_id)
            return line.read(UNBLOCK_S)
        except GroupLost:
            raise
        except (StreamUnavailable, StreamRefused):
            line.close()
            return None


def _command(group: str, consumer: str, streams: Sequence[str]) -> list[Word | None]:
    """None stands for the time to wait."""
    return [
        b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", 1, b"BLOCK", None, b"STREAMS", *streams,
        *([b">"] * len(streams)),
    ]  # fmt: skip


def _ready(lines: Sequence[Link], wake_fd: int, left: float) -> tuple[list[Link], bool]:
    """Wait for one of *lines* or for *wake_fd*."""
    poller = select.poll()
    of_fd = {line.fileno(): line for line in lines}
    for fd in (*of_fd, wake_fd):
        poller.register(fd, select.POLLIN)
    ready = [fd for fd, _ in poller.poll(max(left, 0.0) * 1000)]
    return [of_fd[fd] for fd in ready if fd in of_fd], wake_fd in ready


def readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))
