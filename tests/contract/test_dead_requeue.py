"""`dead requeue`: a dead letter's item goes back in one step, and runs again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.wire import STREAMS, Wire
from tests.kit import RedisServer
from tests.kit.commands import run_program


@pytest.fixture(scope="module")
def frail(start: Callable[..., Wire], shared_redis: RedisServer) -> Iterator[Wire]:
    """A pool where one killed worker is enough for a dead letter."""
    pool = start(shared_redis, workers=1, MAX_DELIVERIES="1")
    yield pool
    assert pool.pool.drain() == 0


def dead(wire: Wire, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**wire.server.env, "LLM_PROVIDER": "scripted", "PATH": "/usr/bin:/bin"}
    return run_program("dead", *arguments, env=env, cwd=wire.pool.folder)


@pytest.mark.parametrize("stream", STREAMS)
def test_requeue_clears_the_mark_and_runs_again(frail: Wire, stream: str, tmp_path: Path) -> None:
    """The node is pending, a graph that failed by it is running, the item is run: the mark does not stop it."""
    graph_id, path = frail.new_graph(), tmp_path / "there"
    frail.put_state(graph_id, inputs={"big": 2**70})
    config = {"tool_name": "die_unless", "tool_params": {"path": str(path)}}
    data = {"graph_id": graph_id, "node_id": "n", "config": config}
    entry = frail.add({"id": "w-1", "type": "node.work", "execution_id": "x", "data": data}, stream)
    assert frail.wait_letter(entry, stream)["reason"] == b"poisoned"
    assert frail.wait_result(graph_id)["data"]["error_code"] == "poisoned"
    assert frail.node_state(graph_id)["metadata"]["work_id"] == "w-1"
    frail.redis.set(f"dago:state:{graph_id}", json.dumps(frail.state(graph_id) | {"status": "failed"}))
    path.touch()
    listed = dead(frail, "list")
    assert listed.returncode == 0 and graph_id in listed.stdout, listed.stderr
    done = dead(frail, "requeue", entry)
    assert done.returncode == 0, done.stderr
    result = frail.wait_result(graph_id, count=2)
    assert not frail.letters(entry, stream)
    completed = [one for one in frail.results(graph_id) if one["type"] == "node.completed"]
    assert [one["data"]["output"] for one in completed] == ["alive"], result
    assert completed[0]["data"]["attempt"] == 1
    state = frail.state(graph_id)
    assert (state["status"], state["inputs"]) == ("running", {"big": 2**70})
    assert state["node_states"]["n"]["status"] == "completed"


def test_unknown_ids_are_not_found(frail: Wire) -> None:
    """Exit status 1 for an id nobody knows."""
    for command in ("show", "requeue", "drop"):
        assert dead(frail, command, "1-1").returncode == 1


def test_drop_deletes_the_letter(frail: Wire) -> None:
    """Dropped is gone, and nothing else happens."""
    entry = frail.add(b"no item")
    frail.wait_letter(entry)
    assert dead(frail, "show", entry).returncode == 0
    assert dead(frail, "drop", entry).returncode == 0
    assert not frail.letters(entry)
