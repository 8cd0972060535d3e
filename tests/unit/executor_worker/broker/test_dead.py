"""Dead letters: list, find, put back, drop."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from executor_worker.broker import Link
from executor_worker.broker.queue.dead_letters import drop, find, letters, requeue
from executor_worker.graph.state import GraphState
from tests.unit.executor_worker.broker.acts import EVENTS, WORK, Client, bury

STATE: dict[str, Any] = {
    "graph_id": "g",
    "status": "failed",
    "inputs": {"x": [], "big": 2**70},
    "node_states": {
        "n": {"node_id": "n", "status": "failed", "error": "boom", "metadata": {"work_id": "w1", "trace": "t"}},
        "m": {"status": "completed", "output": 1, "metadata": {"work_id": "w2"}},
    },
}


def test_letters_are_listed_over_both_streams(db: Client, link: Link) -> None:
    """All of them, however many, the oldest of each stream first."""
    ids = [bury(db) for _ in range(250)]
    other = bury(db, stream=EVENTS)
    found = list(letters(link))
    assert [(letter.id, letter.stream) for letter in found] == [*((one, WORK) for one in ids), (other, EVENTS)]
    assert (found[0].text("reason"), found[0].text("nothing")) == ("poisoned", "")


def test_a_letter_is_found_by_its_id_or_its_items(db: Client, link: Link) -> None:
    """People have one or the other at hand."""
    ident = bury(db, stream=EVENTS)
    assert [letter.id for letter in find(link, ident)] == [ident]
    assert [letter.id for letter in find(link, "5-5")] == [ident]
    for wrong in ("1-1", "nonsense", "", "-", "+", "*", "(1-1"):
        assert find(link, wrong) == []


def test_requeue_puts_the_item_back_and_its_node_to_pending(db: Client, link: Link) -> None:
    """Entry, state and letter in one step; the rest of the document stays as it is."""
    db.set("dago:state:g", json.dumps(STATE))
    letter = find(link, bury(db))[0]
    entry = requeue(link, letter, ttl_s=60)
    assert entry is not None
    assert [(one.decode(), fields) for one, fields in db.xrange(WORK)] == [(entry, {b"data": letter.data})]
    document = json.loads(db.get("dago:state:g") or b"")
    assert document["status"] == "running"
    assert document["node_states"]["n"] == {
        "node_id": "n",
        "status": "pending",
        "error": None,
        "metadata": {"trace": "t"},
    }
    assert document["node_states"]["m"] == STATE["node_states"]["m"] and document["inputs"] == STATE["inputs"]
    assert 0 < db.pttl("dago:state:g") <= 60_000
    assert not db.xlen(f"{WORK}:dead")
    assert requeue(link, letter, ttl_s=60) is None, "it is gone"
    assert db.xlen(WORK) == 1


@pytest.mark.parametrize("state", [None, b"no json", b"[]", b'{"node_states":[]}', {"a": "b"}])
def test_requeue_works_without_a_usable_state(db: Client, link: Link, state: object) -> None:
    """What can't be changed is left as it is."""
    if isinstance(state, bytes):
        db.set("dago:state:g", state)
    elif isinstance(state, dict):
        db.hset("dago:state:g", mapping=state)
    before = db.dump("dago:state:g")
    assert requeue(link, find(link, bury(db))[0], ttl_s=60)
    assert db.dump("dago:state:g") == before and db.xlen(WORK) == 1


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b'{"graph_id":"g"'])
def test_what_could_not_be_decoded_can_be_put_back_too(db: Client, link: Link, data: bytes) -> None:
    """As it came."""
    assert requeue(link, find(link, bury(db, data))[0], ttl_s=60)
    assert db.xrange(WORK)[0][1] == {b"data": data}


def test_requeue_merges_with_writers_of_the_same_state(db: Client, link: Link) -> None:
    """Somebody finishing another node meanwhile loses nothing."""
    db.set("dago:state:g", json.dumps({**STATE, "n": 0}))
    stop = threading.Event()

    def bump() -> None:
        script = db.register_script(
            "local d = redis.call('GET', KEYS[1]) "
            "local bumped = string.gsub(d, '\"n\": (%d+)', function(n) return '\"n\": ' .. n + 1 end) "
            "return redis.call('SET', KEYS[1], bumped)"
        )
        while not stop.is_set():
            script(keys=["dago:state:g"])

    writer = threading.Thread(target=bump)
    writer.start()
    try:
        for _ in range(10):
            assert requeue(link, find(link, bury(db))[0], ttl_s=60)
    finally:
        stop.set()
        writer.join()
    state = GraphState.parse(db.get("dago:state:g") or b"")
    assert state.status == "running" and state.nodes["n"]["status"] == "pending"
    assert db.xlen(WORK) == 10


def test_a_dropped_letter_is_gone(db: Client, link: Link) -> None:
    """Once."""
    letter = find(link, bury(db))[0]
    assert drop(link, letter)
    assert not drop(link, letter)
    assert list(letters(link)) == []
