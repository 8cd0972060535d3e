"""Arguments of the scripts that take, word by word."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle

from executor_worker.broker.connection.command import Word
from executor_worker.broker.names import GROUP
from executor_worker.broker.queue.source import Sources
from executor_worker.envelopes.events import rfc3339

COUNTED, FORGIVEN = "counted", "forgiven"


class TakeOrders:
    """
    The words for take.lua, whose last also stand at the end of each settle script's; each time another of
    equal streams comes first.

    Attributes:
        own: How deliveries of ours that we have not seen are taken: counted, or not since they never ran.
        turns: What is read of the streams, time after time.
    """

    def __init__(self, consumer: str, sources: Sources, *, lease_s: float, delete_settled: bool) -> None:
        before: tuple[Word, ...] = (consumer, GROUP, int(lease_s * 1000), b"" if delete_settled else b"1")
        orders: list[tuple[Word, ...]] = [(*before, len(sources.streams), *order) for order in sources.orders()]
        self.turns = cycle(orders)
        self.own = COUNTED

    def first(
        self, uncounted: tuple[str, str] | None, stale: Sequence[tuple[str, str]], *, may_have_unseen: bool
    ) -> tuple[Word, ...]:
        """
        Return what take.lua asks for first, then the time and what is read of the streams.

        Args:
            uncounted: Stream and entry of our own for which this delivery is not held against it.
            stale: Streams and entries that no worker seems to have in hand.
            may_have_unseen: Look first for what may be pending for us unseen.
        """
        own = self.own if may_have_unseen else b""
        pairs = (word for pair in stale for word in pair)
        return own, " ".join(uncounted or ()), len(stale), *pairs, rfc3339(time.time()), *next(self.turns)
