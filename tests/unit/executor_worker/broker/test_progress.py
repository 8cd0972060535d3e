"""Progress told in scripts that are sent anyway: a start with the take, a tool node's call with its result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.broker import Consumer, Settled
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, commit, events, push, settle, take

PROGRESS = "dago:events:node.progress"


def told(db: Client) -> list[dict[str, Any]]:
    """What watchers were told so far."""
    return [json.loads(event) for event in events(db, PROGRESS)]


def test_start_is_told_with_each_way_of_taking(db: Client, consumer: Callable[..., Consumer], event_fd: int) -> None:
    """By take, by the settle of the item before, and by the confirmation of a blocking read."""
    one = consumer('a"b.1')
    for node in ("first", "second"):
        push(db, node, execution_id="run-7")
    first = take(one)
    second = one.settle(first.held, commit(), take_next=True).next
    assert second is not None
    settle(one, second, commit(expected=None))
    push(db, "third")
    third = one.wait(event_fd, 5)
    assert third is not None
    assert all(claim.delivery.start_told for claim in (first, second, third))
    seen = told(db)
    assert [(event["type"], event["node_id"]) for event in seen] == [
        ("node.started", "first"), ("node.started", "second"), ("node.started", "third"),
    ]  # fmt: skip
    assert [event["execution_id"] for event in seen] == ["run-7", "run-7", "g"]
    assert seen[0]["data"] == {"graph_id": "g", "node_id": "first", "worker_id": 'a"b.1', "attempt": 1}
    assert len({event["id"] for event in seen}) == 3 and seen[0]["timestamp"].endswith("Z")


def test_start_counts_runs_as_results_do(db: Client, consumer: Callable[..., Consumer]) -> None:
    """What was given back uncounted was no run of it."""
    push(db)
    one = consumer("a.1")
    one.release(take(one).held, counted=False)
    entry = (WORK, db.xrange(WORK)[0][0].decode())
    assert take(consumer("a.2"), stale=[entry]).held.attempt == 1
    assert [event["data"]["attempt"] for event in told(db)] == [1, 1]


@pytest.mark.parametrize(
    "more",
    [
        {"inputs": {"node_id": "another"}},
        {"graph_id": 'a"quote'},
        {"node_id": "ünïcode"},
        {"execution_id": None},
        {"execution_id": {}},
    ],
)
def test_start_is_left_to_the_worker_if_a_script_can_not_surely_read_it(
    db: Client, consumer: Callable[..., Consumer], more: dict[str, Any]
) -> None:
    """A name that stands there twice, or in another form than it is told in."""
    push(db, **more)
    assert not take(consumer("a.1")).delivery.start_told
    assert told(db) == []


def test_start_of_an_event_is_told_too(db: Client, consumer: Callable[..., Consumer]) -> None:
    """The other envelope, whose names stand inside."""
    body = {"id": "1", "type": "node.work", "execution_id": "e", "data": {"graph_id": "g", "node_id": "n"}}
    db.xadd(EVENTS, {"data": json.dumps(body)})
    assert take(consumer("a.1")).delivery.start_told
    assert [(event["execution_id"], event["node_id"]) for event in told(db)] == [("e", "n")]


def test_call_is_told_with_the_result_and_once(db: Client, consumer: Callable[..., Consumer]) -> None:
    """In its order, also if the reply is lost and the commit is found again."""
    one = consumer("a.1")
    push(db, inputs={"node_id": "so that no start is told"})
    taken = take(one)
    for event in (b"sent", b"called"):
        taken.tell_with_result(event)
    assert events(db, PROGRESS) == []
    assert settle(one, taken) is Settled.settled
    assert events(db, PROGRESS) == [b"sent", b"called"]
    taken.tell_with_result(b"called")
    assert settle(one, taken) is Settled.already
    assert events(db, PROGRESS) == [b"sent", b"called"]


def test_call_is_told_of_an_item_that_is_given_back(db: Client, consumer: Callable[..., Consumer]) -> None:
    """What was called was called, though no result is told yet."""
    one = consumer("a.1")
    push(db, inputs={"node_id": "so that no start is told"})
    taken = take(one)
    taken.tell_with_result(b"called")
    assert one.release(taken.held, counted=False)
    assert events(db, PROGRESS) == [b"called"]


def test_wrong_key_keeps_no_item_from_its_way(db: Client, consumer: Callable[..., Consumer]) -> None:
    """Somebody's text under the name of the stream: nobody is told, all else goes on."""
    db.set(PROGRESS, "a text")
    push(db)
    one = consumer("a.1")
    taken = take(one)
    taken.tell_with_result(b"called")
    assert settle(one, taken) is Settled.settled
