"""
Commits: what settling writes, whatever the kind, and what came of it.

`Consumer.settle` sends one; each kind draws up its own (`document.py`, `../graphs/settling.py`, `../roles/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from executor_worker.broker.connection.command import Word
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.source import SettleScript


class Settled(Enum):
    """
    The way in which settling ended.

    Attributes:
        over: The item is off the stream by now.

        settled: Committed and acknowledged.
        already: It had been; the reply to that was lost.
        late: Acknowledged, nothing else: what it was for has gone on without it.
        fenced: Nothing written: another worker has the item or has settled it.
        conflict: Nothing written: the state is another one now. Merge and settle again.
        trimmed: Nothing written: the item's pending row is lost and no worker is known to have settled it.
            Look into the node's metadata in the state, then settle again by force.
        judge: Nothing written: more has to be decided first. Decide and settle again.
    """

    settled = b"settled"
    already = b"already"
    late = b"late"
    fenced = b"fenced"
    conflict = b"conflict"
    trimmed = b"trimmed"
    judge = b"judge"

    def __init__(self, word: bytes) -> None:
        self.over = word in (b"settled", b"already", b"late")


@dataclass(frozen=True, slots=True)
class Terms:
    """
    The terms that a consumer settles by, whatever the kind.

    Attributes:
        delete_settled: Settled entries leave the stream.
        mirror: Whether a failure is written to the stream of completed events too: auto, always, or empty for never.
        dead_stream: Where the stream's dead letters go.
    """

    group: str
    delete_settled: bool
    mirror: str
    dead_stream: str


class Commit(Protocol):
    """The commit that settles an item: each kind has its own, and a script for it."""

    @property
    def script(self) -> SettleScript: ...

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """The script's KEYS, and its ARGV up to those about the next entry."""
        ...
