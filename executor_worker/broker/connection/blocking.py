"""Waiting at the server for a new entry, until somebody wakes us."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.replies import GroupLost
from executor_worker.errors import StreamRefused, StreamUnavailable

UNBLOCK_S = 1.0  # whoever wakes us wants us soon


class BlockingRead:
    """XREADGROUP with BLOCK, which ends early when a descriptor becomes readable."""

    def __init__(self, link: Link, group: str, consumer: str, streams: Sequence[str]) -> None:
        self._link = link
        self._head: tuple[Word, ...] = (b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", 1, b"BLOCK")
        self._tail: tuple[Word, ...] = (b"STREAMS", *streams, *([b">"] * len(streams)))

    def read(self, wake_fd: int, block_s: float) -> Any:
        """
        Wait for an entry of one of the streams.

        Returns:
            The server's reply; None where nothing came. Then the line may have been dropped, and what came on it.

        Raises:
            StreamUnavailable: No reply, at the latest some seconds after *block_s*.
            GroupLost: There is no such group.
        """
        if readable(wake_fd):
            return None
        link = self._link
        link.send((*self._head, max(int(block_s * 1000), 1), *self._tail))
        deadline = time.monotonic() + block_s + link.timeout_s
        while (left := deadline - time.monotonic()) > 0:
            reply, woken = link.poll(wake_fd, left)
            if reply is not Link.NOTHING:
                return reply
            if woken:
                return self._unblock()
        link.close()
        raise StreamUnavailable(f"no answer from {link.endpoint}")

    def _unblock(self) -> Any:
        """Make the server answer now; a line on which it doesn't is dropped."""
        second = self._link.another(UNBLOCK_S)
        try:
            if not self._link.client_id:
                raise StreamRefused("the user may not ask for its connection's number")
            second.call("CLIENT", "UNBLOCK", self._link.client_id)
            return self._link.read(UNBLOCK_S)
        except GroupLost:
            raise
        except (StreamUnavailable, StreamRefused):
            self._link.close()
            return None
        finally:
            second.close()


def readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))
