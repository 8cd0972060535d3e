"""Several kinds of work in one pool: one script takes any of them, each is settled by its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import Claim, Consumer
from executor_worker.broker.connection.script import Script
from executor_worker.outcome import Completed
from executor_worker.worker.item import Intake, Settler
from executor_worker.worker.kinds import by_name, sources_of
from executor_worker.worker.kinds.document import DocumentKind
from executor_worker.worker.limits import Limits
from executor_worker.worker.result import Result
from executor_worker.worker.stages import Conclusion, Run
from tests.unit.executor_worker.broker.acts import Client, events, push
from tests.unit.executor_worker.broker.list_kind import ANSWERS, DEAD, HOLDING, LIST, STREAM, ListKind

LIMITS = Limits(900.0, 2, 2**20)
KINDS = by_name(ListKind(LIMITS), DocumentKind(LIMITS, 60))

Make = Callable[..., Consumer]


class Hand:
    """A worker's way with whatever it is given."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer

    def take(self, **options: Any) -> Claim:
        claim = self.consumer.take(**options)
        assert claim is not None
        return claim

    def work_off(self, claim: Claim, *, take_next: bool = True) -> Result:
        work = Intake(KINDS).open(claim)
        decision = work.decision
        done = Conclusion(Completed(work.config, "tool")) if isinstance(decision, Run) else decision
        return Settler(KINDS, self.consumer.name, lambda _: False).settle(work, done, lambda: take_next)


@pytest.fixture
def hand(consumer: Make) -> Callable[[str], Hand]:
    return lambda name: Hand(consumer(name, sources=sources_of(KINDS)))


def lists(db: Client) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """What waits, what is held, what is answered."""
    waiting, holding, answered = (db.lrange(name, 0, -1) for name in (LIST, HOLDING, ANSWERS))
    return waiting, holding, answered


def test_one_call_settles_an_item_and_takes_one_of_another_kind(
    db: Client, hand: Callable[[str], Hand], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions, with nothing between them."""
    worker = hand("w.1")
    worker.consumer.take()  # makes the groups
    db.rpush(LIST, '{"n":1}', '{"n":2}')
    push(db)
    db.set("dago:state:g", "{}")
    kinds, claim = [], worker.take()
    run, scripts = worker.consumer._link.run, list[str]()

    def noted(script: Script, *words: Any) -> Any:
        scripts.append(script.name)
        return run(script, *words)

    monkeypatch.setattr(worker.consumer._link, "run", noted)
    for _ in range(3):
        kinds.append(claim.delivery.kind)
        result = worker.work_off(claim, take_next=len(kinds) < 3)
        assert result.settled
        claim = result.next or claim
    assert sorted(kinds) == ["document", "list", "list"]
    assert scripts == ["settle" if kind == "document" else "settle-jobs" for kind in kinds]
    assert "document" in (kinds[0], kinds[1])
    assert lists(db) == ([], [], [b'{"n":1}', b'{"n":2}']) and len(events(db)) == 1


def test_item_of_a_list_lies_in_the_holding_list_while_it_is_run(db: Client, hand: Callable[[str], Hand]) -> None:
    """It leaves that in the step that answers it, and is brought in only as far as it is wanted."""
    worker = hand("w.1")
    worker.consumer.take()
    db.rpush(LIST, '{"n":1}', '{"n":2}')
    claim = worker.take()
    assert (claim.delivery.kind, claim.delivery.brought) == ("list", 1)
    assert lists(db) == ([b'{"n":2}'], [b'{"n":1}'], [])
    assert worker.work_off(claim, take_next=False).settled
    assert lists(db) == ([b'{"n":2}'], [], [b'{"n":1}']) and not db.xlen(STREAM)


def test_item_of_a_dead_worker_is_another_ones(db: Client, hand: Callable[[str], Hand]) -> None:
    """Lease, fence, deliveries and dead letters hold for every kind."""
    dead, other = hand("dead.1"), hand("other.1")
    dead.consumer.take()
    db.rpush(LIST, '{"n":1}')
    lost = dead.take()
    for attempt in (2, 3):
        db.xclaim(STREAM, "executor-workers", "gone", 0, [lost.held.entry], idle=60_000, justid=True)
        again = other.take(stale=[lost.held.name])
        assert again.held.attempt == attempt and lists(db)[1] == [b'{"n":1}']
    assert not dead.work_off(lost).settled
    assert other.work_off(again, take_next=False).settled
    (letter,) = db.lrange(DEAD, 0, -1)
    assert json.loads(letter)["reason"] == "poisoned" and lists(db) == ([], [], [])


def test_idle_worker_looks_after_a_list_by_itself(db: Client, hand: Callable[[str], Hand], event_fd: int) -> None:
    """No stream tells it that something was put there."""
    worker = hand("w.1")
    assert worker.consumer.wait(event_fd, 0.01) is None
    db.rpush(LIST, "{}")
    claim = worker.consumer.wait(event_fd, 30)
    assert claim is not None and claim.delivery.kind == "list"
    assert worker.consumer.wait(event_fd, 30) is None, "it comes back soon to look again"


def test_delivery_of_a_blocking_read_is_opened_by_its_kind(
    db: Client, hand: Callable[[str], Hand], event_fd: int
) -> None:
    """What is confirmed brings along what a take does."""
    worker = hand("w.1")
    worker.consumer.take()
    db.xadd(STREAM, {"data": "{}"})
    db.rpush(LIST, "x", "y")
    worker.consumer._sources.polled_s = None
    claim = worker.consumer.wait(event_fd, 5)
    assert claim is not None and (claim.delivery.kind, claim.delivery.brought) == ("list", 2)
    reopened = worker.consumer.reopen(claim.held)
    assert reopened is not None
    again = reopened.delivery
    assert (again.held, again.fields, again.kind, again.brought) == (claim.held, {b"data": b"{}"}, "list", 2)
