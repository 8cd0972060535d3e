"""Requests as data: what a verb asks of Redis, and how it is asked over a line of ours."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.replies import NoScript
from executor_worker.broker.connection.script import Script

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A script with its keys and words."""

    script: Script
    keys: Sequence[Word]
    args: Sequence[Word]

    def by_name(self) -> tuple[Word, ...]:
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)

    def in_full(self) -> tuple[Word, ...]:
        return (b"EVAL", self.script.source, len(self.keys), *self.keys, *self.args)


Request = tuple[Word, ...] | ScriptCall
Steps = Generator[Sequence[Request], list[Any], T]
"""A verb: yields requests that may go out together, is sent their replies, and returns its answer."""


def drive(link: Link, steps: Steps[T]) -> T:
    """
    Run a verb over *link*.

    Raises:
        StreamUnavailable: No reply; the verb may be repeated as a whole.
        RunError: It can't be done.
    """
    try:
        requests = next(steps)
        while True:
            replies = link.batch([words_of(request) for request in requests])
            for at, (request, reply) in enumerate(zip(requests, replies, strict=True)):
                if isinstance(reply, NoScript) and isinstance(request, ScriptCall):
                    replies[at] = link.batch([request.in_full()])[0]
            requests = steps.send(replies)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def words_of(request: Request) -> tuple[Word, ...]:
    return request.by_name() if isinstance(request, ScriptCall) else request
