"""A real link on which requests and replies get lost when they are told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from executor_worker.broker import Endpoint, Link
from executor_worker.broker.connection.command import Word
from executor_worker.errors import StreamUnavailable

Fate = Literal["fine", "request lost", "reply lost", "robbed", "written"]
"""
What becomes of one exchange: fine; never asked; done but not answered; done after its item was taken over and
settled by another; done after somebody else has written the states.
"""


class FaultyLink(Link):
    """
    Each exchange (one command, script or batch) meets the next of *fates*; when they are used up all is fine.

    Args:
        seen: Called after each exchange, answered or not.
        before: Called with the fate before an exchange that is done.
    """

    def __init__(self, endpoint: Endpoint, name: str, seen: Callable[[], None], before: Callable[[Fate], None]) -> None:
        super().__init__(endpoint, name=name)
        self.fates: list[Fate] = []
        self._seen = seen
        self._before = before
        self._fate: Fate = "fine"

    def send(self, words: Sequence[Word]) -> None:
        """Send unless the request is to be lost."""
        self._begin()
        super().send(words)

    def read(self, timeout_s: float | None = None) -> Any:
        """Read, and lose what was read if it is to be lost."""
        reply = super().read(timeout_s)
        self._end()
        return reply

    def poll(self, other_fd: int, timeout_s: float) -> tuple[Any, bool]:
        """As `read`, once something has come."""
        reply, woken = super().poll(other_fd, timeout_s)
        if reply is not Link.NOTHING:
            self._end()
        return reply, woken

    def batch(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """One exchange; the greeting of a new connection is none."""
        if not commands or commands[-1][0] == "ROLE":
            return super().batch(commands)
        self._begin()
        replies = super().batch(commands)
        self._end()
        return replies

    def _begin(self) -> None:
        self._fate = self.fates.pop(0) if self.fates else "fine"
        if self._fate == "request lost":
            self.close()
            raise StreamUnavailable("the request was lost")
        self._before(self._fate)

    def _end(self) -> None:
        self._seen()
        if self._fate == "reply lost":
            self.close()
            raise StreamUnavailable("the reply was lost")
