"""Claims without Redis: whoever holds them answers as it was told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

from executor_worker.broker import Claim, Delivery, DocumentCommit, Held, JournalKeys, Link, Settled, Settlement
from executor_worker.broker.queue.commit import Commit
from executor_worker.worker.kinds import Kinds, by_name
from executor_worker.worker.kinds.document import DocumentKind
from executor_worker.worker.limits import Limits

T = TypeVar("T")


class NoJournal:
    """Journals of which there are none."""

    def read(self, *keys: str) -> list[list[bytes]]:
        return [[] for _ in keys]


class StubHolder:
    """
    Keeps commits; answers with what it was told, then with `settled`.

    Attributes:
        states: Documents by key.
        read: Keys that were read.
    """

    def __init__(self, *answers: Any, **states: Any) -> None:
        self.answers = list(answers)
        self.untold: list[bytes] = []
        self.states = {f"dago:state:{name}": state for name, state in states.items()}
        self.read: list[str] = []
        self.commits: list[DocumentCommit] = []
        self.forced: list[bool] = []
        self.released: list[Held] = []

    def read_state(self, key: str) -> bytes | None:
        self.read.append(key)
        state = self.states.get(key)
        return state if state is None or isinstance(state, bytes) else json.dumps(state).encode()

    def ask(self, act: Callable[[Link], T]) -> T:
        raise AssertionError("there is no Redis")

    def journal(self, held: Held, *, ttl_s: float, run: tuple[str, str] | None = None) -> JournalKeys:
        return cast("JournalKeys", NoJournal())

    def holds(self, held: Held) -> bool:
        return True

    def settle(self, held: Held, commit: Commit, *, take_next: bool) -> Settlement:
        assert isinstance(commit, DocumentCommit)
        self.commits.append(commit)
        self.forced.append(commit.force)
        answer = self.answers.pop(0) if self.answers else (Settled.settled, None)
        if isinstance(answer, Exception):
            raise answer
        return Settlement(*answer)

    def release(self, held: Held, *, counted: bool) -> bool:
        assert not counted
        self.released.append(held)
        return True

    def park(
        self, held: Held, throttle_key: str, refused: int, *, watched: str, ends_at: float, due_s: float | None = None
    ) -> bool:
        raise AssertionError("nothing waits here")


def held(count: int = 1, uncounted: int = 0) -> Held:
    return Held("executor.work", "1-1", count, "w.1", uncounted)


def claim(data: bytes | None, holder: StubHolder, *, at: Held | None = None, **more: Any) -> Claim:
    """Make a claim on an entry with that data; None: without."""
    fields = {} if data is None else {b"data": data}
    return Claim(Delivery(at or held(), fields, "document", **more), holder)


def documents(ttl_s: int = 60, **limits: Any) -> Kinds:
    """The one kind there is, with limits of its own."""
    settings = {"node_timeout_s": 900.0, "max_deliveries": 5, "max_item_bytes": 2**20} | limits
    return by_name(DocumentKind(Limits(**settings), ttl_s))
