"""What the scripts that take and settle are told, word by word."""

from __future__ import annotations

from collections.abc import Sequence

from executor_worker.broker.connection.command import Word
from executor_worker.broker.names import COMPLETED_STREAM, MARKERS, RESETS, dead_stream
from executor_worker.broker.queue.delivery import Commit, Held


class TakeOrders:
    """
    The words for take.lua, which also stand at the end of settle.lua's; each time another stream comes first.

    Attributes:
        own: How deliveries of ours that we have not seen are taken: counted, or forgiven since they never ran.
    """

    def __init__(
        self, consumer: str, streams: Sequence[str], *, group: str, lease_s: float, delete_settled: bool
    ) -> None:
        streams = tuple(streams)
        keep = b"" if delete_settled else b"1"
        self._before: tuple[Word, ...] = (consumer, group, int(lease_s * 1000))
        self._after: list[tuple[Word, ...]] = [
            (keep, len(streams), *streams[turn:], *streams[:turn]) for turn in range(len(streams))
        ]
        self._turn = 0
        self.own = "counted"

    def next(self, uncounted: tuple[str, str] | None = None, *, may_have_unseen: bool) -> tuple[Word, ...]:
        """
        Args:
            uncounted: Stream and entry of our own for which this delivery is not held against it.
            unsure: Look first for what may be pending for us unseen.
        """
        after = self._after[self._turn]
        self._turn = (self._turn + 1) % len(self._after)
        return *self._before, self.own if may_have_unseen else b"", " ".join(uncounted or ()), *after

    def forgive(self) -> None:
        """From now on what is pending unseen was lost on its way here: it never ran and does not count."""
        self.own = "forgiven"


def settle_words(
    held: Held, commit: Commit, *, group: str, delete_settled: bool, mirror: str, force: bool
) -> tuple[list[Word], list[Word]]:
    """
    Keys and words for settle.lua, up to those about the next entry.

    Args:
        mirror: Whether a failure is written to the stream of completed events too: auto, always, or empty for never.
    """
    keys: list[Word] = [
        held.stream, MARKERS, RESETS, commit.state_key or MARKERS, dead_stream(held.stream), COMPLETED_STREAM,
        commit.journal or MARKERS,
    ]  # fmt: skip
    words: list[Word] = [
        group, held.consumer, held.entry, held.count, b"1" if force else b"",
        b"-" if commit.expected is None or commit.state_key is None else commit.expected,
        commit.document, int(commit.ttl_s * 1000), mirror if commit.failure else b"",
        b"1" if delete_settled else b"", commit.last_record if commit.journal else b"", len(commit.events),
    ]  # fmt: skip
    for stream, event in commit.events:
        keys.append(stream)
        words.append(event)
    letter: list[Word] = [word for pair in (commit.dead or {}).items() for word in pair]
    return keys, [*words, len(letter), *letter]
