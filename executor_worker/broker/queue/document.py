"""Items of graphs that other systems schedule: their source in Redis, and what settling one writes there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import COMPLETED_STREAM, FAILED_PREFIX, MARKERS, RESETS, WORK_STREAMS
from executor_worker.broker.queue.commit import Terms
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.source import SettleScript, Source
from executor_worker.errors import StreamError

SETTLE = SettleScript("settle")
DOCUMENTS = Source("document", WORK_STREAMS, ("kinds/document",), (SETTLE,))


@dataclass(slots=True)
class DocumentCommit:
    """
    The commit of an item of a graph: its state document, its result event, its dead letter.

    Attributes:
        expected: SHA-1 (hex) of the document that *document* was made from; b"" if there must be none;
            None to leave the state alone.
        events: Pairs of stream and `data`.
        failure: The first event tells of a failure, so that it may be due in the stream of completed events as well.
        dead: Fields of the dead letter; None if the item is not dead.
        dead_stream: Where it goes, if that is not with the dead letters of the item's own stream.
        journal: The run's; None if none was kept.
        last_record: What the journal ends with.
        graph_id, failed_node: Whose item is kept for `failed retry`; empty if the node has not failed.
        force: Commit even if the pending row is lost, after `Settled.trimmed`.
    """

    script: ClassVar[SettleScript] = SETTLE

    state_key: str | None = None
    expected: bytes | None = None
    document: bytes = b""
    ttl_s: int = 86400
    events: list[tuple[str, bytes]] = field(default_factory=list)
    failure: bool = False
    dead: dict[str, bytes | str] | None = None
    dead_stream: str = ""
    journal: str | None = None
    last_record: bytes = b""
    force: bool = False
    graph_id: str = ""
    failed_node: str = ""

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """KEYS and ARGV of settle.lua; see `Commit`."""
        keys: list[Word] = [
            held.stream, MARKERS, RESETS, self.state_key or MARKERS, self.dead_stream or terms.dead_stream,
            COMPLETED_STREAM, self.journal or MARKERS, FAILED_PREFIX + self.graph_id if self.failed_node else MARKERS,
        ]  # fmt: skip
        words: list[Word] = [
            terms.group, held.consumer, held.entry, held.count, b"1" if self.force else b"",
            b"-" if self.expected is None or self.state_key is None else self.expected,
            self.document, int(self.ttl_s * 1000), terms.mirror if self.failure else b"",
            b"1" if terms.delete_settled else b"", self.last_record if self.journal else b"",
            self.failed_node, len(self.events),
        ]  # fmt: skip
        for stream, event in self.events:
            keys.append(stream)
            words.append(event)
        words.append(2 * len(self.dead) if self.dead else 0)
        for name, value in self.dead.items() if self.dead else ():
            words += (name, value)
        return keys, words


def read_document(link: Link, key: str) -> bytes | None:
    """
    Read a graph's document: None if there is none, empty if the key holds no string.

    Raises:
        StreamUnavailable: No reply.
    """
    reply = link.batch([("GET", key)])[0]
    if isinstance(reply, StreamError):
        if "WRONGTYPE" in str(reply):
            return b""
        raise reply
    return reply  # type: ignore[no-any-return]
