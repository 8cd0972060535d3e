"""An exchange of a consumer with Redis."""

from __future__ import annotations

from typing import Protocol


class Unsure(Protocol):
    """A consumer; see there."""

    may_have_unseen: bool


class Exchange:
    """Whatever ends an exchange with Redis early, the next take looks for what may have become ours by it."""

    __slots__ = ("_consumer",)

    def __init__(self, consumer: Unsure) -> None:
        self._consumer = consumer

    def __enter__(self) -> None:
        pass

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self._consumer.may_have_unseen = True
