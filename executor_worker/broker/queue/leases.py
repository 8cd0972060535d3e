"""Leases: what a worker has in hand stays its own."""

from __future__ import annotations

from collections.abc import Sequence

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import MARKERS, RESETS
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.source import OURS, Groups

AT_ONCE = 500  # entries in one call: keeps it far below a millisecond each


def renew(link: Link, held: Sequence[Held], *, groups: Groups = OURS) -> list[Held]:
    """
    Keep *held* their holders' for one more lease.

    What was settled meanwhile by its own holder is passed over, and so is what was given back.

    Returns:
        Those that another worker holds or has settled: their holders must stop.

    Raises:
        StreamUnavailable: No reply; the old leases stand.
    """
    lost: list[Held] = []
    renewal = script("renew", "constants", "standing")
    for start in range(0, len(held), AT_ONCE):
        some = held[start : start + AT_ONCE]
        words: list[Word] = []
        for one in some:
            words += (groups.of(one.stream), one.stream, one.consumer, one.entry, one.count)
        lost += (some[position] for position in link.run(renewal, [MARKERS, RESETS], words))
    return lost
