"""Arguments of the scripts that take, word by word."""

from __future__ import annotations

import time

from executor_worker.broker.connection.command import Word
from executor_worker.broker.names import GROUP
from executor_worker.broker.queue.source import Sources
from executor_worker.envelopes.events import rfc3339


class TakeOrders:
    """
    The words for take.lua, which also stand at the end of each settle script's; each time another of
    equal streams comes first.

    Attributes:
        own: How deliveries of ours that we have not seen are taken: counted, or not since they never ran.
    """

    def __init__(self, consumer: str, sources: Sources, *, lease_s: float, delete_settled: bool) -> None:
        head: tuple[Word, ...] = (b"" if delete_settled else b"1", len(sources.streams))
        self._before: tuple[Word, ...] = (consumer, GROUP, int(lease_s * 1000))
        self._after = [(*head, *order) for order in sources.orders()]
        self._turn = 0
        self.own = "counted"

    def next(self, uncounted: tuple[str, str] | None = None, *, may_have_unseen: bool) -> tuple[Word, ...]:
        """
        Args:
            uncounted: Stream and entry of our own for which this delivery is not held against it.
            may_have_unseen: Look first for what may be pending for us unseen.
        """
        after = self._after[self._turn]
        self._turn = (self._turn + 1) % len(self._after)
        own = self.own if may_have_unseen else b""
        return rfc3339(time.time()), *self._before, own, " ".join(uncounted or ()), *after

    def forgive(self) -> None:
        """Take what is pending unseen from now on as lost on its way here: it never ran and does not count."""
        self.own = "forgiven"
