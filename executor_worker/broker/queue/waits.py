"""Waits of items that no worker holds: a throttled model, a tool that another pool has, a place; see waits.lua."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Part, script
from executor_worker.broker.names import AWAITED, LIMITS, PARKED
from executor_worker.broker.queue.gates import GATES, WAITING
from executor_worker.errors import StreamRefused


@dataclass(frozen=True, slots=True)
class Survey:
    """
    Attributes:
        awaited: How many things hold callers back, or are waited for.
        throttles: How many of them are throttles of models.
        breakers: How many of them are tools, or servers of tools, whose last call brought no answer.
        opens_s: Until the next one may open; None if that is for something else to say.
        ready: Pairs of stream and entry that waited and could be taken now.
    """

    awaited: int
    throttles: int
    opens_s: float | None
    ready: list[tuple[str, str]]
    breakers: int = 0


def survey(
    link: Link,
    pool: str,
    streams: Sequence[str],
    calling: Sequence[str],
    *,
    place_s: float,
    most: int,
    gates: Sequence[Part] = GATES,
) -> Survey:
    """
    Look at all that is waited for, and keep the places of those who still call.

    Args:
        pool: Its name: what waits may be for other pools than this.
        streams: That it serves.
        calling: Consumers of ours that are in a model call.
        place_s: For how long a place is kept.
        most: Entries wanted.
        gates: Parts that say when what is waited for lets items go.

    Raises:
        StreamUnavailable: No reply.
    """
    if not _are_there(link):
        return Survey(0, 0, None, [])  # nearly always: one command, not a script and what it asks
    words: list[Word] = [int(place_s * 1000), most, f"{pool}.", len(streams), *streams, *calling]
    left, throttles, breakers, opens_ms, *flat = link.run(script("survey", *gates, "limits_watched"), [AWAITED], words)
    names = [word.decode() for word in flat]
    ready = list(zip(names[::2], names[1::2], strict=True))
    return Survey(left, throttles, opens_ms / 1000 if opens_ms >= 0 else None, ready, breakers)


def _are_there(link: Link) -> bool:
    """Tell whether anything is waited for; a user who may not ask does without."""
    try:
        return bool(link.call("EXISTS", AWAITED, LIMITS))
    except StreamRefused:
        return False


@dataclass(frozen=True, slots=True)
class Parked:
    """
    An entry that waits.

    Attributes:
        key: What it waits for.
        ends_at: When it is too late for it, in seconds since the epoch; 0: never.
        state_key: Says whether it is still wanted; empty if nothing does.
    """

    stream: str
    entry: str
    key: str
    ends_at: float
    state_key: str


def parked(link: Link, cursor: bytes, *, page: int) -> tuple[bytes, list[Parked]]:
    """
    Look at some of what waits.

    Args:
        cursor: Where the look before has ended; b"0" to begin.

    Returns:
        Where to go on, and about *page* of them.

    Raises:
        StreamUnavailable: No reply.
    """
    after, flat = link.call("HSCAN", PARKED, cursor, "COUNT", page)
    return after, [_parked(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


def let_go(link: Link, entries: Sequence[tuple[str, str]]) -> None:
    """
    Let *entries* wait no longer, whatever they wait for.

    Raises:
        StreamUnavailable: No reply.
    """
    if entries:
        link.run(script("let_go", *WAITING), [PARKED], [word for pair in entries for word in pair])


def _parked(member: bytes, about: bytes) -> Parked:
    stream, _, entry = member.decode().rpartition(" ")
    key, ends_ms, watched = about.decode("utf-8", "replace").split("\t", 2)
    return Parked(stream, entry, key, int(ends_ms) / 1000, watched)
