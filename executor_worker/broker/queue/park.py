"""Let an item wait, held by no worker, until what it needs is there."""

from __future__ import annotations

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.names import GROUP, MARKERS, RESETS
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.gates import PLACES, WAITING


def park_script() -> Script:
    return script("park", "constants", "types", "standing", *WAITING, *PLACES)


def park_held(
    link: Link,
    held: Held,
    awaited: str,
    refused: int,
    *,
    watched: str,
    ends_at: float,
    group: str = GROUP,
    due_s: float | None = None,
) -> bool:
    """
    Give *held* back until *awaited*, a key, lets it go, uncounted; no worker takes it before.

    Args:
        refused: How often its call was refused so far; `Delivery.refused` brings it back.
        watched: The key that says whether it is still wanted; "" if there is none.
        due_s: It is due in so long, and this was an attempt of it: counted, unlike all else. None: *awaited* says when.
        ends_at: When it is too late for it, in seconds since the epoch; 0: never.

    Returns:
        Whether it was still pending in this very delivery.

    Raises:
        StreamUnavailable: No reply.
    """
    keys: list[Word] = [held.stream, MARKERS, RESETS, awaited]
    words: list[Word] = [group, held.consumer, held.entry, held.count, refused, int(ends_at * 1000), watched]
    words.append(b"" if due_s is None else int(due_s * 1000))
    return bool(link.run(park_script(), keys, words))
