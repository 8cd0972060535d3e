"""What settling a run's node writes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.graphs.records import Decided
from executor_worker.broker.names import COMPLETED_STREAM, MARKERS, RESETS, dead_stream, run_key


class RunSettled(Enum):
    """
    How settling ended.

    Attributes:
        settled: Committed and acknowledged.
        already: It had been; the reply to that was lost.
        late: Acknowledged, nothing else: the run, or the node, has ended or begun again without it.
        fenced: Nothing written: somebody else has the item or has settled it.
        judge: Nothing written: more has to be decided first.
    """

    settled = b"settled"
    already = b"already"
    late = b"late"
    fenced = b"fenced"
    judge = b"judge"


@dataclass(slots=True)
class NodeCommit:
    """
    What settling a run's node writes.

    Attributes:
        delay_ms: The node is to be run again after so long; None: it has ended.
        more: What was decided besides, and the run's output, as the script takes them.
        letter: Fields of the dead letter; empty where the item is not dead.
    """

    graph_id: str
    node: str
    epoch: int
    attempt: int
    decided: Decided
    delay_ms: int | None = None
    more: list[Any] = field(default_factory=lambda: [0, b""])
    letter: dict[str, bytes | str] = field(default_factory=dict)


def node_words(held: Any, commit: NodeCommit, *, group: str, mirror: str) -> tuple[list[Word], list[Word]]:
    """Answer keys and words for runs/settle.lua, up to those about the next entry; *held*: a `Held`."""
    keys: list[Word] = [
        held.stream, MARKERS, RESETS, run_key(commit.graph_id), dead_stream(held.stream), COMPLETED_STREAM
    ]  # fmt: skip
    letter: list[Word] = [word for pair in commit.letter.items() for word in pair]
    words: list[Word] = [
        group, held.consumer, held.entry, held.count, commit.node, commit.epoch, commit.attempt, mirror,
        b"ended" if commit.delay_ms is None else b"again", commit.delay_ms or 0,
        *commit.decided.words(), *commit.more, len(letter), *letter,
    ]  # fmt: skip
    return keys, words
