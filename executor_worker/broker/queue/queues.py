"""Queues: streams of their own for nodes that name one, and which of them there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import QUEUE_PREFIX, QUEUES, ROLE_QUEUES, WORK_STREAMS, dead_stream
from executor_worker.envelopes.queue_name import DEFAULT, NOTHING
from executor_worker.errors import StreamError


def streams_of(queue: str) -> tuple[str, ...]:
    """Name the streams of a queue: `default` has two."""
    return WORK_STREAMS if queue == DEFAULT else (QUEUE_PREFIX + queue,)


def queue_of(stream: str) -> str:
    """Name the queue of a work stream."""
    return stream.removeprefix(QUEUE_PREFIX) if stream.startswith(QUEUE_PREFIX) else DEFAULT


def ranked(queues: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Name the streams of *queues*, in order of preference; those of one queue are equals."""
    return tuple(streams_of(queue) for queue in queues if queue != NOTHING)


def note_queues(streams: Iterable[str]) -> list[tuple[Word, ...]]:
    """Word what makes the queues among *streams* known to all."""
    names = [stream.removeprefix(QUEUE_PREFIX) for stream in streams if stream.startswith(QUEUE_PREFIX)]
    return [("SADD", QUEUES, *names)] if names else []


def note_role_queues(streams: Iterable[str]) -> list[tuple[Word, ...]]:
    """Word what makes the *streams* of roles known to all."""
    return [("SADD", ROLE_QUEUES, *names)] if (names := list(streams)) else []


def known_role_queues(link: Link) -> tuple[str, ...]:
    """
    Name the streams of roles that still exist, as far as this user may see them.

    Raises:
        StreamUnavailable: No reply.
    """
    known = sorted(name.decode("utf-8", "replace") for name in link.call("SMEMBERS", ROLE_QUEUES))
    there = link.batch([("EXISTS", stream, dead_stream(stream)) for stream in known])
    # A user who may not look at jobs of roles does without them.
    return tuple(name for name, count in zip(known, there, strict=True) if isinstance(count, int) and count)


def known_streams(link: Link, queues: Sequence[str] = ()) -> tuple[str, ...]:
    """
    Name the work streams there are: the default queue's, those of *queues*, and those of others that still exist.

    Raises:
        StreamUnavailable: No reply.
    """
    known = sorted(name.decode("utf-8", "replace") for name in link.call("SMEMBERS", QUEUES))
    others = [QUEUE_PREFIX + name for name in known]
    there = link.batch([("EXISTS", stream, dead_stream(stream)) for stream in others])
    for reply in there:
        if isinstance(reply, StreamError):
            raise reply
    kept = [stream for stream, count in zip(others, there, strict=True) if count]
    served = (stream for rank in ranked(queues) for stream in rank)
    return tuple(dict.fromkeys((*WORK_STREAMS, *served, *kept)))
