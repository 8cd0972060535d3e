"""Settling of an item of a run: the arguments that its script writes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.graphs.records import Decided
from executor_worker.broker.graphs.source import ACKNOWLEDGE, SETTLE_NODE
from executor_worker.broker.names import COMPLETED_STREAM, MARKERS, RESETS, dead_stream, run_key
from executor_worker.broker.queue.commit import Terms
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.source import SettleScript


@dataclass(slots=True)
class NodeCommit:
    """
    The commit that settles a run's node.

    Attributes:
        delay_ms: The node is to be run again after so long; None: it has ended.
        more: What was decided besides, and the run's output, as the script takes them.
        letter: Fields of the dead letter; empty if the item is not dead.
    """

    graph_id: str
    node: str
    epoch: int
    attempt: int
    decided: Decided
    delay_ms: int | None = None
    more: list[Any] = field(default_factory=lambda: [0, b""])
    letter: dict[str, bytes | str] = field(default_factory=dict)

    @property
    def script(self) -> SettleScript:
        return SETTLE_NODE

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """KEYS and ARGV of runs/settle.lua; see `Commit`."""
        keys: list[Word] = [
            held.stream, MARKERS, RESETS, run_key(self.graph_id), dead_stream(held.stream), COMPLETED_STREAM
        ]  # fmt: skip
        letter: list[Word] = [word for pair in self.letter.items() for word in pair]
        words: list[Word] = [
            terms.group, held.consumer, held.entry, held.count, self.node, self.epoch, self.attempt, terms.mirror,
            b"ended" if self.delay_ms is None else b"again", self.delay_ms or 0,
            *self.decided.words(), *self.more, len(letter), *letter,
        ]  # fmt: skip
        return keys, words


class StepCommit:
    """Nothing: what a step does is written by then."""

    script = ACKNOWLEDGE

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """KEYS and ARGV of acknowledge.lua; see `Commit`."""
        return [held.stream, MARKERS, RESETS], [terms.group, held.consumer, held.entry, held.count]
