"""Hear of what others give back, and of models that are throttled, as it happens."""

from __future__ import annotations

from collections.abc import Callable

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import RELEASED_CHANNEL, THROTTLED_CHANNEL
from executor_worker.errors import StreamRefused


class Releases:
    """
    A subscription on a connection of its own; where the user may not subscribe it stays silent, sweeps do without.

    Args:
        throttled: Called when a model was throttled.

    Attributes:
        refused: Redis does not let us subscribe.
    """

    def __init__(self, link: Link, throttled: Callable[[], None] = lambda: None) -> None:
        self.refused = False
        self._throttled = throttled
        self._link = link

    def fileno(self) -> int | None:
        """What to wait on for more; None while there is no subscription."""
        return self._link.fileno() if self._link.connected else None

    def heard(self) -> list[tuple[str, str]]:
        """
        Fetch what was given back since; subscribes first where that is to be done. Never waits for more.

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
                self._throttled()
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
        # Looking for throttles once a second does without the second channel.
        for channels in ((RELEASED_CHANNEL, THROTTLED_CHANNEL), (RELEASED_CHANNEL,)):
            try:
                self._link.call("SUBSCRIBE", *channels)
                return True
            except StreamRefused:
                self._link.close()
        self.refused = True
        return False
