"""Records of jobs that are not in the database yet: Redis keeps them until they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import LuaText, Part, script
from executor_worker.broker.names import HISTORY_WRITER, UNWRITTEN_JOBS

MOST_RECORDS = 200
MOST_BYTES = 2**20  # read at once, unless a single record has more

_KEEP_HISTORY = LuaText("history", "history_kept = true")


def record_parts(history: bool) -> tuple[Part, ...]:
    """Parts of `lua/lib` that write records; *history*: each stays until it is in a database too."""
    return ("calendar", "roles/record", *((_KEEP_HISTORY,) if history else ()))


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A record that is not in the database, under its key."""

    key: bytes
    record: bytes

    @property
    def sha(self) -> str:
        return hashlib.sha1(self.record, usedforsecurity=False).hexdigest()


def unwritten(link: Link, writer: str, *, hold_s: float) -> list[Unwritten] | None:
    """
    Read the oldest of them, and be the one that writes for *hold_s* seconds.

    Returns:
        None if another is.

    Raises:
        StreamUnavailable: No reply.
    """
    words: list[Word] = [writer, int(hold_s * 1000), MOST_RECORDS, MOST_BYTES]
    flat = link.run(script("history/unwritten"), [UNWRITTEN_JOBS, HISTORY_WRITER], words)
    if flat == 0:
        return None
    return [Unwritten(flat[at], flat[at + 1]) for at in range(0, len(flat), 2)]


def note_written(link: Link, records: Sequence[Unwritten], *, ttl_s: float) -> None:
    """
    Let records that are in the database expire; one that has changed since is written again.

    Raises:
        StreamUnavailable: No reply: they are written once more, which changes nothing.
    """
    words: list[Word] = [int(ttl_s * 1000)]
    for one in records:
        words += (one.key, one.sha)
    link.run(script("history/written"), [UNWRITTEN_JOBS], words)


def put_last(link: Link, records: Sequence[Unwritten], *, now: float) -> None:
    """
    Put records that the database does not take behind all others.

    Raises:
        StreamUnavailable: No reply.
    """
    words = [word for one in records for word in (int(now * 1000), one.key)]
    link.call("ZADD", UNWRITTEN_JOBS, "XX", *words)


def how_many(link: Link) -> tuple[int, float | None]:
    """
    Count them.

    Returns:
        Their number, and since when the oldest waits, in seconds since the epoch.

    Raises:
        StreamUnavailable: No reply.
    """
    number, first = link.batch([("ZCARD", UNWRITTEN_JOBS), ("ZRANGE", UNWRITTEN_JOBS, 0, 0, "WITHSCORES")])
    return (number, float(first[1]) / 1000) if isinstance(first, list) and first else (0, None)
