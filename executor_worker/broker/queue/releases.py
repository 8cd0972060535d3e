"""Hear of what others give back, and of models that are throttled, as it happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import RELEASED_CHANNEL, THROTTLED_CHANNEL, TIMERS_CHANNEL
from executor_worker.errors import StreamRefused

OPEN = b"open "
"""And what has opened: on the channel on which else is told who is held back."""


def tell_released(link: Link, entries: Sequence[tuple[str, str]]) -> None:
    """
    Tell all keepers of *entries* that no worker has in hand.

    Raises:
        StreamUnavailable: No reply.
    """
    if entries:
        link.batch([("PUBLISH", RELEASED_CHANNEL, f"{stream} {entry}") for stream, entry in entries])


class Releases:
    """
    A subscription on a connection of its own; if the user may not subscribe it stays silent, sweeps do without.

    Args:
        throttled: Called when a model was throttled, or a tool brought no answer, with what holds its calls back.
        timer: Called when a timer of a run was set, with the seconds until it is due.
        opened: Called when something that items wait for may let them go.

    Attributes:
        refused: Redis does not let us subscribe.
    """

    def __init__(
        self,
        link: Link,
        throttled: Callable[[str], None] = lambda _: None,
        timer: Callable[[float], None] = lambda _: None,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        self.refused = False
        self._throttled = throttled
        self._timer = timer
        self._opened = opened
        self._link = link

    def fileno(self) -> int | None:
        """Return the descriptor to wait on for more; None while there is no subscription."""
        return self._link.fileno() if self._link.connected else None

    def heard(self) -> list[tuple[str, str]]:
        """
        Fetch what was given back since; subscribes first if that is to be done. Never waits for more.

        Returns:
            Pairs of stream and entry.

        Raises:
            StreamUnavailable: The connection is lost; the next call makes a new one.
        """
        if not self._subscribed():
            return []
        pairs = []
        for kind, channel, message in self._link.arrived():
            if kind != b"message":
                continue
            if channel == THROTTLED_CHANNEL.encode():
                if message.startswith(OPEN):
                    self._opened()
                else:
                    self._throttled(message.decode("utf-8", "replace"))
                continue
            if channel == TIMERS_CHANNEL.encode():
                self._timer(int(message) / 1000 if message.isdigit() else 0.0)
                continue
            stream, _, entry = message.decode("utf-8", "replace").partition(" ")
            if entry:
                pairs.append((stream, entry))
        return pairs

    def close(self) -> None:
        """Drop the connection."""
        self._link.close()

    def _subscribed(self) -> bool:
        if self.refused or self._link.connected:
            return not self.refused
        # Looking for throttles once a second, and for timers now and then, does without their channels.
        all_of_them = (RELEASED_CHANNEL, THROTTLED_CHANNEL, TIMERS_CHANNEL)
        for channels in (all_of_them, all_of_them[:2], all_of_them[:1]):
            try:
                self._link.call("SUBSCRIBE", *channels)
                return True
            except StreamRefused:
                self._link.close()
        self.refused = True
        return False
