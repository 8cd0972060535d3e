"""Routers' work as others write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.kit import Pool, RedisServer, wait_until
from tests.kit.commands import run_program

CONFIG = {"rules": [{"condition": "state.score > 0.9", "target": "premium"}], "fallback": "standard"}


@pytest.mark.parametrize("prefix", ["dago:state:", "graph:state:"])
def test_flat_work_is_decided_and_told(redis_server: RedisServer, executor: Callable[..., Pool], prefix: str) -> None:
    """On `router.decided` as the original told it, and on `node.completed` for whoever schedules."""
    db: Any = redis_server.client()
    state = {"graph_id": "e1", "graph": {}, "status": "running", "inputs": {"score": 0.95}, "node_states": {}}
    db.set(f"{prefix}e1", json.dumps(state))
    db.xadd("router.work", {"data": json.dumps({"execution_id": "e1", "node_id": "r", "config": CONFIG})})
    executor(redis_server, workers=1)
    (decided,) = wait_until(lambda: db.xrange("router.decided"), 20)
    told = json.loads(decided[1][b"data"])
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "execution_id": "e1",
        "mode": "deterministic",
        "node_id": "r",
        "path_taken": "fast",
        "reasoning": "matched rule 0: state.score > 0.9",
        "target_node": "premium",
    }
    (completed,) = db.xrange("dago:events:node.completed")
    event = json.loads(completed[1][b"data"])
    assert event["execution_id"] == "e1" and event["data"]["next_node"] == "premium"
    assert [group["name"] for group in db.xinfo_groups("router.work")] == [b"router-workers"]
    wait_until(lambda: not db.xlen("router.work"))
    document = json.loads(db.get(f"{prefix}e1"))
    assert document["node_states"]["r"]["output"]["target"] == "premium"


def test_work_event_and_its_errors(redis_server: RedisServer, executor: Callable[..., Pool]) -> None:
    """An event without config finds it in the graph; what can't be decided is told on the stream of errors."""
    db: Any = redis_server.client()
    node = {"id": "r", "type": "router", "routes": [{"condition": "false", "target": "a"}], "default_route": "b"}
    state = {"graph_id": "e2", "graph": {"nodes": {"r": node}}, "status": "running", "inputs": {}, "node_states": {}}
    db.set("dago:state:e2", json.dumps(state))
    event = {"id": "x", "type": "node.work", "execution_id": "e2", "data": {"graph_id": "e2", "node_id": "r"}}
    db.xadd("dago:events:router.work", {"data": json.dumps(event)})
    db.xadd("router.work", {"data": json.dumps({"execution_id": "gone", "node_id": "r", "config": CONFIG})})
    wrong = {"mode": "deterministic", "fallback": "b"}
    db.xadd("router.work", {"data": json.dumps({"execution_id": "e2", "node_id": "wrong", "config": wrong})})
    executor(redis_server, workers=1)
    (decided,) = wait_until(lambda: db.xrange("router.decided"), 20)
    assert json.loads(decided[1][b"data"])["target_node"] == "b"
    failed = wait_until(lambda: _errors(db) if db.xlen("router.decided.errors") == 2 else None, 20)
    assert failed == {
        "r": "failed to load state: state not found for execution gone",
        "wrong": "routing failed: invalid config: deterministic mode requires rules",
    }


def test_what_can_not_be_run_is_dead_where_it_was_put(redis_server: RedisServer, executor: Callable[..., Pool]) -> None:
    """As it came, under its own id; `dead` shows it there and puts it back, to be tried once more."""
    db: Any = redis_server.client()
    nameless, fields = b'{ "config": 1 }', {b"jobs": b"other", b"\xff": b"x"}
    put = {
        "router.work": [db.xadd("router.work", {"data": b"not JSON"}), db.xadd("router.work", {"data": nameless})],
        "dago:events:router.work": [db.xadd("dago:events:router.work", fields)],
    }
    pool = executor(redis_server, workers=1)

    def letters(stream: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return db.xrange(f"{stream}:dead")  # type: ignore[no-any-return]

    wait_until(lambda: len(letters("router.work")) == 2 and letters("dago:events:router.work"), 20)
    assert not db.exists("executor.work:dead", "dago:events:executor.work:dead")
    for stream, entries in put.items():
        assert [fields[b"original_id"] for _, fields in letters(stream)] == entries
        assert {fields[b"reason"] for _, fields in letters(stream)} == {b"invalid_item"}
    assert [fields[b"data"] for _, fields in letters("router.work")] == [b"not JSON", nameless]
    ((_, kept),) = letters("dago:events:router.work")
    assert (kept[b"data"], json.loads(kept[b"fields"])) == (b"", {"jobs": "other", "\\xff": "x"})
    run = partial(run_program, env=pool.env, cwd=pool.folder)
    listed = json.loads(run("dead", "list", "--json").stdout)
    assert [one["stream"] for one in listed] == ["router.work", "router.work", "dago:events:router.work"]
    rows = {row["stream"]: row for row in json.loads(run("status", "--json").stdout)["streams"]}
    assert (rows["router.work"]["dead"], rows["router.work"]["depth"]) == (2, 0)
    again = run("dead", "requeue", put["router.work"][0].decode())
    assert again.returncode == 0 and "is back on router.work as " in again.stdout
    wait_until(lambda: len(letters("router.work")) == 2 and letters("router.work")[0][1][b"data"] == nameless, 20)
    assert letters("router.work")[1][1][b"data"] == b"not JSON"
    assert run("dead", "drop", "--all").returncode == 0
    assert not letters("router.work") and not letters("dago:events:router.work")


def test_an_entry_of_another_program_does_not_say_where_its_letter_goes(
    redis_server: RedisServer, executor: Callable[..., Pool]
) -> None:
    """Only what was handed on from routers' streams goes back to one of them."""
    db: Any = redis_server.client()
    db.xadd("executor.work", {"data": "not JSON", "handed_on_from": "others.stream 1-0", "as_it_came": "x"})
    executor(redis_server, workers=1)
    ((_, letter),) = wait_until(lambda: db.xrange("executor.work:dead"), 20)
    assert letter[b"data"] == b"not JSON" and not db.exists("others.stream:dead")


def _errors(db: Any) -> dict[str, str]:
    told = [json.loads(fields[b"data"]) for _, fields in db.xrange("router.decided.errors")]
    return {one["node_id"]: one["error"] for one in told}
