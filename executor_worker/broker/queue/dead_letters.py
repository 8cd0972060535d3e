"""Dead letters: see them, put them back, drop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import ROUTER_STREAMS, STATE_PREFIX, WORK_STREAMS, dead_stream, own_journal
from executor_worker.envelopes.role_job import job_of_letter
from executor_worker.envelopes.work_item import names_in
from executor_worker.errors import StateInvalid, StreamError
from executor_worker.graph.state import GraphState, requeue_node
from executor_worker.json_text import loads

PAGE = 100
_OURS = (*WORK_STREAMS, *ROUTER_STREAMS)  # and queues, whose names begin so


@dataclass(frozen=True, slots=True)
class Letter:
    """
    Attributes:
        id: Its own id in the stream of dead letters.
        stream: The work stream its item came from.
        fields: `data` as it came (`fields`: all that came, if that was not among it), original_id, reason, error,
            deliveries, consumer, failed_at.
    """

    id: str
    stream: str
    fields: dict[str, bytes] = field(repr=False)

    @property
    def flat(self) -> bool:
        """Tell whether the item's own fields stand beside what is said of it: it was a job of a role."""
        return not self.stream.startswith(_OURS)

    @property
    def data(self) -> bytes:
        return b"" if self.flat else self.fields.get("data", b"")

    @property
    def job(self) -> dict[str, bytes]:
        """The job it was, by field; only where it is `flat`."""
        words = job_of_letter(self.fields)
        return {str(name): bytes(value) for name, value in zip(words[::2], words[1::2], strict=True)}

    @property
    def entry(self) -> list[Word]:
        """Names and values of the entry it was; if it had no `data`, bytes that are no text as escapes."""
        if self.flat:
            return list(job_of_letter(self.fields))
        kept = self.fields.get("fields")
        if kept is None:
            return ["data", self.data]
        return [str(word) for pair in loads(kept).items() for word in pair]

    def text(self, name: str) -> str:
        """A field for people; "" if it is missing."""
        return self.fields.get(name, b"").decode("utf-8", "replace")


def letters(link: Link, *, streams: Sequence[str] = WORK_STREAMS) -> Iterator[Letter]:
    """
    Read all dead letters, stream by stream, the oldest first, a page at a time.

    Raises:
        StreamUnavailable: No reply.
    """
    for stream in streams:
        start = "-"
        while page := link.call("XRANGE", dead_stream(stream), start, "+", "COUNT", PAGE):
            yield from (_letter(stream, entry) for entry in page)
            start = "(" + page[-1][0].decode()


def find(link: Link, ident: str, *, streams: Sequence[str] = WORK_STREAMS) -> list[Letter]:
    """
    Find a letter by its own id, else by the id its item had in the work stream.

    Returns:
        Nearly always one or none; more only if both streams have that id.

    Raises:
        StreamUnavailable: No reply.
    """
    if not _is_id(ident):
        return []
    replies = link.batch([("XRANGE", dead_stream(stream), ident, ident) for stream in streams])
    found = []
    for stream, reply in zip(streams, replies, strict=True):
        if isinstance(reply, StreamError):
            raise reply
        found += [_letter(stream, entry) for entry in reply]
    return found or [letter for letter in letters(link, streams=streams) if letter.text("original_id") == ident]


def requeue(link: Link, letter: Letter, *, ttl_s: float) -> str | None:
    """
    Put the letter's item back on its stream; its node is pending again, and its graph running if it failed by it.

    What its run had done stays written down, for the next one to go on from.

    Args:
        ttl_s: The state's new time to live.

    Returns:
        The new entry's id; None if the letter is gone.

    Raises:
        StreamUnavailable: No reply; it may have been done.
    """
    graph_id, node_id = names_in(letter.data)
    key = STATE_PREFIX + graph_id if graph_id and node_id else None
    while True:
        expected, document = _pending_again(link, key, node_id)
        journals = own_journal(letter.stream, "")
        words: list[Word] = [letter.id, expected, document, int(ttl_s * 1000), journals, *letter.entry]
        former = own_journal(letter.stream, letter.text("original_id"))
        keys = [dead_stream(letter.stream), letter.stream, key or dead_stream(letter.stream), former]
        answer = link.run(script("requeue", "types", flags=""), keys, words)
        if answer[0] == b"requeued":
            entry: bytes = answer[1]
            return entry.decode()
        if answer[0] == b"missing":
            return None


def drop(link: Link, letter: Letter) -> bool:
    """
    Delete a letter.

    Returns:
        Whether it was still there.

    Raises:
        StreamUnavailable: No reply.
    """
    return bool(link.call("XDEL", dead_stream(letter.stream), letter.id))


def _pending_again(link: Link, key: str | None, node_id: str) -> tuple[bytes, bytes]:
    """The state's expected digest (`-`: leave it alone) and its new text."""
    raw = link.batch([("GET", key)])[0] if key is not None else None
    if isinstance(raw, StreamError) and "WRONGTYPE" not in str(raw):
        raise raw
    if not isinstance(raw, bytes):
        return b"-", b""
    try:
        return GraphState.digest(raw), requeue_node(raw, node_id)
    except StateInvalid:
        return b"-", b""


def _letter(stream: str, entry: Any) -> Letter:
    ident, words = entry
    names = [name.decode("utf-8", "replace") for name in words[::2]]
    return Letter(ident.decode(), stream, dict(zip(names, words[1::2], strict=True)))


def _is_id(text: str) -> bool:
    ms, dash, seq = text.partition("-")
    return text.isascii() and ms.isdigit() and (not dash or seq.isdigit()) and len(text) <= 41
