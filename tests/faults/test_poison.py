"""Scenarios 17-20: items that kill, items that nobody can read, items that come back."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from executor_worker.broker import Consumer, Endpoint, Link
from tests.faults.stage import DEAD, FAILED, WORK, Stage, pids_of, unharmed

ITEM = {"graph_id": "g", "node_id": "n", "node_type": "tool", "inputs": {}}
PID = {"tool_name": "say_pid", "tool_params": {"mark": "g"}}
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000


def test_17_item_that_kills_its_worker(stage: Stage) -> None:
    """Into the dead letters after MAX_DELIVERIES; others flow meanwhile, the slot recovers."""
    pool = stage.pool(workers=2, MAX_DELIVERIES="3")
    data = stage.db.xrange(WORK)
    stage.push("crash", "poison", how="SIGKILL", times=100)
    ((_, fields),) = stage.db.xrange(WORK)
    others = [f"g{number}" for number in range(20)]
    for graph in others:
        stage.push("nap", graph, seconds=0.02)
    failed = stage.result("poison")["data"]
    assert (failed["error_code"], failed["attempt"]) == ("poisoned", 3), failed
    stage.assert_settled_once(["poison", *others])
    assert len(stage.journal.starts("poison")) == 3 and not data
    ((_, letter),) = stage.db.xrange(DEAD)
    assert letter[b"data"] == fields[b"data"]
    assert (letter[b"reason"], letter[b"deliveries"]) == (b"poisoned", b"3")
    assert letter[b"error"].decode() == failed["error"]
    assert failed["error"].endswith("The last ended by SIGKILL in phase tool:crash")
    assert letter[b"consumer"].startswith(pool.env["WORKER_ID"].encode()) and letter[b"failed_at"].endswith(b"Z")
    pool.wait_event("item.dead", reason="poisoned")
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    assert pool.metrics()['dago_items_dead_total{reason="poisoned"}'] == 1
    stage.push("nap", "after")
    assert stage.result("after")["type"] == "node.completed"


def hostile() -> dict[str, tuple[bytes, str]]:
    """Entries by name, with the error code that they are to get; "" if nobody can be told."""
    node = {**ITEM, "config": PID}
    raw = json.dumps(node)
    return {
        "not_json": (b"{nonsense", ""),
        "empty": (b"", ""),
        "no_object": (b'["graph_id"]', ""),
        "not_utf8": (b'{"graph_id":"\xff\xfe","node_id":"n"}', ""),
        "wrong_types": (b'{"graph_id":5,"node_id":["n"],"node_type":{},"config":"x"}', ""),
        "config_no_object": (json.dumps({**node, "config": "x"}).encode(), "invalid_item"),
        "inputs_no_object": (json.dumps({**node, "inputs": [1]}).encode(), "invalid_item"),
        "deep": (raw[:-1].encode() + b',"more":' + DEEP + b"}", "?"),
        "too_large": (json.dumps({**node, "more": "x" * (10 << 20)}).encode(), "invalid_item"),
        "nul_bytes": (json.dumps({**node, "config": {**PID, "no\0te": "\0"}}).encode(), "?"),
        "duplicate_keys": (raw[:-1].encode() + b',"node_type":"tool"}', "?"),
        "nan": (raw[:-1].encode() + b',"more":NaN}', "?"),
        "lone_surrogate": (raw[:-1].encode() + b',"more":"\\ud800"}', "?"),
        "huge_integer": (raw[:-1].encode() + b',"more":' + b"9" * 5000 + b"}", "?"),
    }


@pytest.mark.parametrize("model", ["tool", "prompt"])
def test_18_hostile_items(stage: Stage, model: str) -> None:
    """Each gets an answer where its names can be read and lies in the dead letters where not; the worker lives."""
    pool = stage.pool(workers=2, MAX_ITEM_BYTES="4194304")
    pids = pids_of(pool)
    wanted = hostile()
    for name, (data, _) in wanted.items():
        named = data.replace(b'"graph_id": "g"', f'"graph_id": "{name}"'.encode())
        if model == "prompt":
            named = named.replace(json.dumps(PID).encode(), b'{"llm_config": {"prompt": "{{nothing}} \\u0000"}}')
        stage.push_raw(named)
    stage.push("nap", "last")
    stage.result("last")
    stage.wait_nothing_left()
    letters = stage.db.xrange(DEAD)
    answers = {event["graph_id"]: event for event in stage.results()}
    assert len(stage.results()) == len(answers), "nobody is answered twice"
    unanswered = {name for name in wanted if name not in answers}
    assert unanswered == {name for name, (_, code) in wanted.items() if code == ""}
    for name, (_, code) in wanted.items():
        if code == "invalid_item":
            assert answers[name]["data"]["error_code"] == code
    assert {letter[b"reason"] for _, letter in letters} == {b"invalid_item"}
    assert len(letters) >= sum(code != "?" for _, code in wanted.values())
    assert unharmed(pool, pids) and not pool.seen("slot.dead") and not pool.seen("duty.failed")


def test_18_entries_of_another_shape(stage: Stage) -> None:
    """No field `data`, other fields, binary names: dead letters that keep nothing back, and the worker lives."""
    pool = stage.pool(workers=1)
    pids = pids_of(pool)
    stage.db.xadd(WORK, {"payload": "x"})
    stage.db.xadd(WORK, {b"\xff\x00": b"\x00", b"data2": b"1"})
    stage.push("nap", "last")
    stage.result("last")
    stage.wait_nothing_left()
    assert len(stage.db.xrange(DEAD)) == 2 and unharmed(pool, pids)


DRAINS, RELEASES = 4, 96


def test_19_item_drained_a_hundred_times(stage: Stage) -> None:
    """`attempt` stays what it was, and it still runs: by drains of real pools, and as their workers give back."""
    entry = stage.push("hold")
    for number in range(DRAINS):
        pool = stage.pool(workers=1, DRAIN_TIMEOUT="0.2" if number % 2 else "30")
        stage.started(count=number + 1)
        pool.send(signal.SIGTERM if number % 2 else signal.SIGQUIT)
        assert pool.wait() == number % 2, "1 if a worker had to be killed"
    link = Link(Endpoint.parse(stage.server.unix_url))
    consumer = Consumer(link, "elsewhere.1", lease_s=stage.lease_s)
    for _ in range(RELEASES):
        taken = consumer.take(stale=[(WORK, entry)])
        assert taken is not None and taken.held.attempt == 1
        assert consumer.release(taken.held, counted=False)
    consumer.close()
    stage.pool(workers=1, MAX_DELIVERIES="2")
    stage.journal.let_go("g")
    assert stage.result()["data"]["attempt"] == 1
    stage.assert_settled_once(["g"])
    assert not stage.db.hlen(f"{WORK}:forgiven"), "nothing is kept of it"


def test_20_statuses_of_any_kind(stage: Stage) -> None:
    """What is no text is no status: the node is run, no worker dies of it."""
    pool = stage.pool(workers=2)
    pids = pids_of(pool)
    statuses = {"list": b'["x"]', "object": b"{}", "deep": _nested(300), "too deep": _nested(50_000)}
    for name, status in statuses.items():
        state = b'{"inputs":{},"node_states":{"n":{"status":%b},"m":{"status":%b}}}' % (status, status)
        stage.db.set(f"dago:state:{name}", state)
        item = {"graph_id": name, "node_id": "n", "id": "w", "config": PID}
        stage.push_raw(json.dumps(item).encode())
        result = stage.result(name)
        assert result["data"].get("error_code") == ("state_invalid" if name == "too deep" else None), result
    stage.wait_nothing_left()
    assert unharmed(pool, pids)


def _nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


STATES: dict[str, tuple[bytes | None, dict[str, Any], str]] = {
    "unknown_node": (b'{"graph_id":"g","graph":{"nodes":{}},"status":"running","node_states":{}}', {}, "invalid_node"),
    "missing": (None, {}, "state_missing"),
    "not_json": (b"\x00not json", {"config": PID}, "state_invalid"),
    "no_object": (b"[1,2]", {"config": PID}, "state_invalid"),
    "nodes_a_list": (b'{"node_states":[1],"inputs":{}}', {"config": PID}, "state_invalid"),
    "inputs_text": (b'{"node_states":{},"inputs":"x"}', {"config": PID}, "state_invalid"),
    "cancelled": (b'{"status":"cancelled","node_states":{},"inputs":{}}', {"config": PID}, "cancelled"),
}


def test_20_states_of_every_kind(stage: Stage) -> None:
    """The right code for each, the state as it was where it can't be written, the worker alive."""
    stage.db.hset("dago:state:a_hash", "a", "b")
    cases = {**STATES, "a_hash": (None, {"config": PID}, "state_invalid")}
    pool = stage.pool(workers=2)
    pids = pids_of(pool)
    for name, (state, more, _) in cases.items():
        if state is not None:
            stage.db.set(f"dago:state:{name}", state)
        item = {"graph_id": name, "node_id": "n", "node_type": "tool", **more}
        stage.push_raw(json.dumps(item).encode())
    for name, (state, _, code) in cases.items():
        assert stage.result(name)["data"]["error_code"] == code, stage.result(name)
        if code == "state_invalid" and state is not None:
            assert stage.db.get(f"dago:state:{name}") == state
    stage.wait_nothing_left()
    assert stage.db.xlen(FAILED) == len(cases) and not stage.journal.starts()
    assert stage.db.hget("dago:state:a_hash", "a") == b"b"
    assert unharmed(pool, pids) and not stage.db.exists("dago:state:missing")
