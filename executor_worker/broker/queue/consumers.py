"""Consumers of the group: give back what a dead one has, delete those that are gone for good."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.replies import GroupLost
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import GROUP, MARKERS, REGISTRY_PREFIX, RELEASED_CHANNEL, RESETS, TAKEN_STREAMS
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.gates import PLACES, WAITING
from executor_worker.broker.queue.source import OURS, Groups
from executor_worker.errors import StreamError

GIVEN_BACK_MS = 15_768_000_000  # as in constants.lua
UNCOUNTED_AT_ONCE = 500  # entries in one call: about a millisecond of the server's time


def release_consumer(
    link: Link, consumer: str, *, counted: bool, streams: Sequence[str] = TAKEN_STREAMS, groups: Groups = OURS
) -> list[tuple[str, str]]:
    """
    Give back all that *consumer* has pending; only for one whose worker is certainly dead.

    Args:
        counted: The deliveries are held against the entries.

    Returns:
        Pairs of stream and entry that any worker may take now.

    Raises:
        StreamUnavailable: No reply.
    """
    giving = script("release_consumer", "constants", "types", *WAITING, *PLACES)
    found: list[tuple[str, str]] = []
    for group, some in groups.apart(streams).items():
        words = [group, consumer, "" if counted else "1", RELEASED_CHANNEL]
        flat = [word.decode() for word in link.run(giving, some, words)]
        found += zip(flat[::2], flat[1::2], strict=True)
    return found


def pending_of(
    link: Link, consumer: str, *, streams: Sequence[str] = TAKEN_STREAMS, groups: Groups = OURS
) -> list[Held]:
    """
    List what *consumer* has pending as it stands now, without what was given back already.

    Raises:
        StreamUnavailable: No reply.
    """
    found = []
    replies = link.batch([("XPENDING", stream, groups.of(stream), "-", "+", 100, consumer) for stream in streams])
    for stream, reply in zip(streams, replies, strict=True):
        if isinstance(reply, StreamError):
            if isinstance(reply, GroupLost):
                continue
            raise reply
        for entry, _, idle_ms, count in reply:
            if idle_ms < GIVEN_BACK_MS:
                found.append(Held(stream, entry.decode(), count, consumer))
    return found


def release_held(link: Link, held: Held, *, counted: bool, groups: Groups = OURS) -> bool:
    """
    Give back one delivery for a worker that is dead; a successor that took it over meanwhile keeps it.

    Args:
        counted: The delivery is held against the entry.

    Returns:
        Whether it was still pending in this very delivery.

    Raises:
        StreamUnavailable: No reply.
    """
    group = groups.of(held.stream)
    words: list[Word] = [group, held.consumer, held.entry, held.count, "" if counted else "1", RELEASED_CHANNEL]
    release = script("release", "constants", "types", "standing", *WAITING, *PLACES)
    return bool(link.run(release, [held.stream, MARKERS, RESETS], words))


def delete_consumer(
    link: Link, consumer: str, *, streams: Sequence[str] = TAKEN_STREAMS, groups: Groups = OURS
) -> bool:
    """
    Delete *consumer* unless something is pending for it.

    Returns:
        Whether it is gone. One that reads again is made again by Redis.

    Raises:
        StreamUnavailable: No reply.
    """
    return bool(link.run(script("delete_consumer"), [MARKERS, *streams], [consumer, *map(groups.of, streams)]))


def prune_consumers(
    link: Link,
    *,
    keep: Container[str] = (),
    idle_s: float = 3600.0,
    streams: Sequence[str] = TAKEN_STREAMS,
    groups: Groups = OURS,
) -> list[str]:
    """
    Delete consumers of vanished hosts and slots: idle for long, nothing pending, in no registry.

    What stands of those that were lost with their group goes too. Of a group of another system, which its own programs
    read as well, only those are deleted that have settled something as ours do: all others are not ours to judge.

    Args:
        keep: Names that stay in any case: our own.

    Raises:
        StreamUnavailable: No reply.
    """
    quiet = _quiet(link, idle_s, streams, groups)
    marked = {name.decode() for name in link.call("HGETALL", MARKERS)[::2]}
    ours = _quiet(link, idle_s, [stream for stream in streams if groups.of(stream) == GROUP], groups)
    names = sorted(name for name in {*ours, *marked} if quiet.get(name, True) and name not in keep)
    gone = _unregistered(link, names)
    return [name for name in gone if delete_consumer(link, name, streams=streams, groups=groups)]


def delete_left(link: Link, prefix: str, *, streams: Sequence[str] = TAKEN_STREAMS, groups: Groups = OURS) -> list[str]:
    """
    Delete consumers whose names begin with *prefix*, that are not registered and that have nothing pending.

    A predecessor whose last items were given back at its end could not delete its own: these were pending until others
    took them.

    Raises:
        StreamUnavailable: No reply.
    """
    left = _unregistered(link, consumers_of(link, prefix, streams=streams, groups=groups))
    return [name for name in left if delete_consumer(link, name, streams=streams, groups=groups)]


def _unregistered(link: Link, names: Sequence[str]) -> list[str]:
    registered = link.batch([("EXISTS", REGISTRY_PREFIX + name) for name in names])
    return [name for name, there in zip(names, registered, strict=True) if there == 0]


def prune_uncounted(link: Link, *, streams: Sequence[str] = TAKEN_STREAMS, groups: Groups = OURS) -> int:
    """
    Forget which deliveries did not count of entries that no worker can settle any more; some at a time.

    Returns:
        How many were forgotten.

    Raises:
        StreamUnavailable: No reply.
    """
    pruning = script("prune_uncounted")
    return sum(link.run(pruning, [stream], [groups.of(stream), UNCOUNTED_AT_ONCE]) for stream in streams)


def _quiet(link: Link, idle_s: float, streams: Sequence[str], groups: Groups) -> dict[str, bool]:
    """Tell of each consumer, by its name, whether it did nothing on any stream for so long."""
    seen: dict[str, bool] = {}
    for about in _consumers(link, streams, groups):
        quiet = about["idle"] >= idle_s * 1000 and about["pending"] == 0
        name = about["name"].decode()
        seen[name] = seen.get(name, True) and quiet
    return seen


def _consumers(link: Link, streams: Sequence[str], groups: Groups) -> Iterator[dict[str, Any]]:
    """Yield what Redis knows of each consumer, stream by stream; nothing if the group is missing."""
    for reply in link.batch([("XINFO", "CONSUMERS", stream, groups.of(stream)) for stream in streams]):
        if isinstance(reply, StreamError):
            if isinstance(reply, GroupLost) or "no such key" in str(reply):
                continue
            raise reply
        yield from map(fields_of, reply)


def fields_of(flat: Sequence[Any]) -> dict[str, Any]:
    """Read what XINFO says of one thing."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def consumers_of(
    link: Link, prefix: str, *, streams: Sequence[str] = TAKEN_STREAMS, groups: Groups = OURS
) -> list[str]:
    """
    Name the group's consumers whose names begin with *prefix* and go on with a number.

    Raises:
        StreamUnavailable: No reply.
    """
    names = {about["name"].decode() for about in _consumers(link, streams, groups)}
    return sorted(name for name in names if name.startswith(prefix) and name[len(prefix) :].isdigit())
