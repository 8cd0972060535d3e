"""Settings by what they do: each is given to the real program and its effect is looked for outside."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.contract.wire import GROUP, STREAMS, WORK, Wire
from tests.kit import ModelServer, RedisServer, holds_for, own_name, wait_until

RENAMED = {"tool_name": "renamed"}


@pytest.fixture
def server(room: Path) -> Iterator[RedisServer]:
    """A Redis for one test."""
    folder = room / f"own{len(list(room.iterdir()))}"
    folder.mkdir()
    started = RedisServer(folder)
    yield started
    started.close()


def test_delete_settled_0_keeps_the_entries(start: Callable[..., Wire], server: RedisServer) -> None:
    """They are acknowledged and stay for other groups; none is run twice, also by the next pool."""
    wire = start(server, DELETE_SETTLED="0")
    entries = []
    for _ in range(3):
        graph_id = wire.new_graph()
        entries.append(wire.add({"graph_id": graph_id, "node_id": "n", "config": RENAMED, "inputs": {}}))
        wire.wait_result(graph_id)
    assert wire.redis.xlen(WORK) == 3
    wait_until(lambda: wire.redis.xpending(WORK, GROUP)["pending"] == 0, 5)
    wait_until(lambda: wire.pool.metrics().get('dago_queue_depth{queue="executor.work"}') == 0, 8, "nothing to do")
    assert wire.pool.drain() == 0
    again = start(server, DELETE_SETTLED="0")
    assert again.output(RENAMED)
    assert len(again.events("dago:events:node.completed")) == 4
    assert again.pool.drain() == 0


def test_a_lost_group_is_made_again(start: Callable[..., Wire], server: RedisServer) -> None:
    """Lost while running: there again within 5 s at 0, with an error in the log; new items are run."""
    wire = start(server)
    wire.output(RENAMED)
    wire.redis.xgroup_destroy(WORK, GROUP)
    wait_until(lambda: wire.has_group(WORK), 6, "the group is back")
    wait_until(lambda: [event for event in wire.pool.events if event.get("level") == "error"], 2, "it is said")
    assert wire.output(RENAMED)
    assert wire.pool.drain() == 0


def test_a_lost_group_of_kept_entries_starts_where_it_was(start: Callable[..., Wire], server: RedisServer) -> None:
    """With DELETE_SETTLED=0 at the last known id: what has been run is not run again."""
    wire = start(server, DELETE_SETTLED="0")
    for _ in range(3):
        wire.output(RENAMED)
    wire.redis.xgroup_destroy(WORK, GROUP)
    wait_until(lambda: wire.redis.xinfo_groups(WORK), 6, "the group is back")
    assert wire.output(RENAMED)
    holds_for(lambda: len(wire.events("dago:events:node.completed")) == 4, 0.5, "nothing is run again")
    assert wire.pool.drain() == 0


def test_flushed_redis_is_set_up_again(start: Callable[..., Wire], server: RedisServer) -> None:
    """After FLUSHALL groups and registry are there again within seconds."""
    wire = start(server)
    wire.redis.flushall()
    for stream in STREAMS:
        wait_until(partial(wire.has_group, stream), 6, f"{stream}'s group")
    wait_until(lambda: wire.worker(1).get("status") == "idle", 6, "the registry")
    assert wire.output(RENAMED)
    assert wire.pool.drain() == 0


def test_state_ttl(start: Callable[..., Wire], server: RedisServer) -> None:
    """STATE_TTL with a unit."""
    wire = start(server, workers=1, STATE_TTL="5m")
    graph_id = wire.new_graph()
    wire.add({"graph_id": graph_id, "node_id": "n", "config": RENAMED, "inputs": {}})
    wire.wait_result(graph_id)
    assert 240 <= wire.redis.ttl(f"dago:state:{graph_id}") <= 300
    assert wire.pool.drain() == 0


def test_max_items_per_worker(start: Callable[..., Wire], server: RedisServer) -> None:
    """A worker is replaced after so many items; no item is lost or run twice by that."""
    wire = start(server, workers=2, MAX_ITEMS_PER_WORKER="3")
    pids = {row["pid"] for row in wire.pool.workers()}
    graphs = [wire.new_graph() for _ in range(20)]
    for graph_id in graphs:
        wire.add({"graph_id": graph_id, "node_id": "n", "config": RENAMED, "inputs": {}})
    attempts = [wire.wait_result(graph_id)["data"]["attempt"] for graph_id in graphs]
    assert attempts == [1] * 20
    wire.pool.wait_workers(lambda rows: not pids & {row["pid"] for row in rows}, 10)
    assert wire.pool.drain() == 0


@pytest.mark.cold
def test_max_rss_mb(start: Callable[..., Wire], server: RedisServer) -> None:
    """A worker that has grown beyond the limit is replaced between items."""
    wire = start(server, workers=1, MAX_RSS_MB="1")
    pid = wire.pool.worker_pid(1)
    assert wire.output(RENAMED)
    wire.pool.wait_workers(lambda rows: rows[0]["pid"] not in (None, pid))
    assert wire.pool.drain() == 0


def test_health_port_0_is_logged(start: Callable[..., Wire], server: RedisServer) -> None:
    """Any free port, and the log says which."""
    wire = start(server, workers=1, wait=False, HEALTH_PORT="0")
    port = wire.pool.wait_event("health.listening")["port"]
    assert port > 0
    wait_until(lambda: httpx2.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == 200, 15)
    assert wire.pool.drain() == 0


def test_an_empty_health_port_is_none(start: Callable[..., Wire], server: RedisServer) -> None:
    """Nothing listens, and work is done all the same."""
    wire = start(server, workers=1, wait=False, HEALTH_PORT="")
    assert wire.output(RENAMED)
    assert not wire.pool.seen("health.listening")
    assert wire.pool.drain() == 0


def test_secrets_from_files(start: Callable[..., Wire], room: Path) -> None:
    """`REDIS_PASS_FILE`, a trailing newline does not count; the secret is in no log line."""
    folder = room / "locked"
    folder.mkdir()
    server = RedisServer(folder, password="pa ss-w0rd")
    (folder / "secret").write_text("pa ss-w0rd\n")
    try:
        wire = start(server, workers=1, REDIS_PASS="", REDIS_PASS_FILE=str(folder / "secret"), LOG_LEVEL="debug")
        assert wire.output(RENAMED)
        assert wire.pool.drain() == 0
        assert "pa ss-w0rd" not in json.dumps(wire.pool.events)
    finally:
        server.close()


def test_secrets_from_systemd_credentials(start: Callable[..., Wire], room: Path) -> None:
    """A file of the variable's name in CREDENTIALS_DIRECTORY holds it too."""
    folder = room / "credentials"
    folder.mkdir()
    server = RedisServer(folder, password="other-word")
    for name in ("REDIS_PASS", "redis_pass"):
        (folder / name).write_text("other-word")
    try:
        wire = start(server, workers=1, REDIS_PASS="", CREDENTIALS_DIRECTORY=str(folder))
        assert wire.output(RENAMED)
        assert wire.pool.drain() == 0
    finally:
        server.close()


def test_a_wrong_password_is_refused_with_its_variable(start: Callable[..., Wire], room: Path) -> None:
    """Exit status 78, the variable and the fix in the log, the password nowhere."""
    folder = room / "refused"
    folder.mkdir()
    server = RedisServer(folder, password="right")
    try:
        wire = start(server, workers=1, wait=False, REDIS_PASS="wrong-word")
        assert wire.pool.wait(20) == 78
        said = wire.pool.said(100)
        assert "REDIS_PASS" in said and ".." not in said
        assert "wrong-word" not in said
    finally:
        server.close()


def test_what_redis_refuses_is_told_by_its_variable(start: Callable[..., Wire], server: RedisServer) -> None:
    """Exit status 78, and no other variable is blamed."""
    wire = start(server, workers=1, wait=False, REDIS_DB="99")
    assert wire.pool.wait(20) == 78
    reason = wire.pool.wait_event("pool.given_up")["reason"]
    assert reason.startswith("REDIS_DB: ") and "/99" in reason and "REDIS_PASS" not in reason


def test_log_file_and_level(start: Callable[..., Wire], server: RedisServer, tmp_path: Path) -> None:
    """LOG_FILE takes the log, LOG_FORMAT=text is for people, LOG_LEVEL=error hides the rest; USR1 reopens."""
    path = tmp_path / "log"
    wire = start(server, workers=1, LOG_FILE=str(path), LOG_FORMAT="json")
    wait_until(lambda: {"pool.ready", "slot.up"} <= {line["event"] for line in lines_of(path)}, 5, "all is told")
    lines = lines_of(path)
    assert all(line["time"].endswith("Z") for line in lines)
    assert not wire.pool.seen("pool.ready")
    path.rename(tmp_path / "log.1")
    wire.pool.send(signal.SIGUSR1)
    wait_until(path.exists, 5, "the file is there again")
    assert wire.pool.drain() == 0
    wait_until(lambda: "pool.stopped" in path.read_text(), 5, "new lines go to the new file")
    quiet = start(server, workers=1, LOG_LEVEL="error")
    quiet.error({"tool_name": "nobody"})
    assert quiet.pool.drain() == 0
    assert not quiet.pool.events, quiet.pool.said()
    text = start(server, workers=1, LOG_FORMAT="text")
    assert text.pool.drain() == 0
    assert all("text" in event for event in text.pool.events)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a log so far, but for one that is being written."""
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def test_a_misspelt_variable_is_named(start: Callable[..., Wire], server: RedisServer) -> None:
    """A warning names the nearest real one."""
    wire = start(server, workers=1, MAX_ITERATION="3")
    assert wire.pool.drain() == 0
    warnings = [json.dumps(event) for event in wire.pool.events if event.get("level") == "warn"]
    assert any("MAX_ITERATION" in said and "MAX_ITERATIONS" in said for said in warnings), warnings


def test_worker_pool_size_is_workers(start: Callable[..., Wire], server: RedisServer) -> None:
    """The original's name for WORKERS, and `.env` beside it."""
    wire = start(server, workers=3, ENV_FILE=os.devnull)
    assert len(wire.pool.workers()) == 3
    assert wire.pool.drain() == 0


def test_max_iterations_and_node_timeout(start: Callable[..., Wire], server: RedisServer, gate: Path) -> None:
    """MAX_ITERATIONS limits agents that say nothing themselves, NODE_TIMEOUT every item."""
    wire = start(server, workers=1, MAX_ITERATIONS="2", NODE_TIMEOUT="3s")
    rule = {
        "tool_calls": [{"name": "renamed", "arguments": {}}],
        "repeat": True,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    data = wire.run({"llm_config": {"prompt": json.dumps({"script": [rule]})}, "tools": ["renamed"]})
    assert (data["error_code"], data["usage"]["input_tokens"]) == ("max_iterations", 2)
    data = wire.run({"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}})
    assert (data["error_code"], data["attempt"]) == ("node_timeout", 1)
    assert wire.output(RENAMED)
    assert wire.pool.drain() == 0


def test_max_deliveries(start: Callable[..., Wire], server: RedisServer) -> None:
    """An item is run so often; when the last run killed its worker too: a dead letter, `poisoned`, that number."""
    wire = start(server, workers=1, MAX_DELIVERIES="2")
    graph_id = wire.new_graph()
    entry = wire.add({"graph_id": graph_id, "node_id": "n", "config": {"tool_name": "die"}, "inputs": {}})
    letter = wire.wait_letter(entry)
    assert (letter["reason"], letter["deliveries"]) == (b"poisoned", b"2")
    data = wire.wait_result(graph_id)["data"]
    assert (data["error_code"], data["attempt"], data["mode"]) == ("poisoned", 2, "tool")
    assert wire.node_state(graph_id)["status"] == "failed"
    assert wire.output(RENAMED)
    assert wire.pool.drain() == 0


def test_drains_do_not_count(start: Callable[..., Wire], server: RedisServer, gate: Path) -> None:
    """An item that was given back at DRAIN_TIMEOUT is on its first attempt at the next pool."""
    wire = start(server, workers=1, DRAIN_TIMEOUT="0.5s")
    graph_id = wire.new_graph()
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    wire.add({"graph_id": graph_id, "node_id": "n", "config": config, "inputs": {}})
    wire.pool.wait_workers(lambda rows: rows[0]["phase"] == "tool:wait_for_file")
    wire.pool.drain()
    gate.touch()
    other = start(server, workers=1)
    assert other.wait_result(graph_id, seconds=5)["data"]["attempt"] == 1
    assert other.pool.drain() == 0


def test_model_settings_reach_the_server(
    start: Callable[..., Wire], server: RedisServer, model_server: ModelServer
) -> None:
    """LLM_MODEL where a node names none, the key as the API wants it; both providers, with usage on the wire."""
    model_server.answer("Say hello", "Hello!")
    for env, model in (
        (model_server.env | {"LLM_MODEL": "model-a"}, "model-a"),
        (model_server.openai_env, "test-model"),
    ):
        wire = start(server, workers=1, **env)
        data = wire.run({"llm_config": {"prompt": "Say hello", "temperature": 0.5}})
        assert data["output"]["content"] == "Hello!", data
        assert data["usage"].keys() >= {"input_tokens", "output_tokens"}
        asked = model_server.requests()[-1]
        assert asked["body"]["model"] == model
        assert "test-key" not in json.dumps(wire.pool.events)
        assert wire.pool.drain() == 0


def test_a_server_that_was_never_reached(start: Callable[..., Wire], server: RedisServer) -> None:
    """While a configured MCP server was never reached an unknown name is `tool_unavailable`, a known one runs."""
    pool = start(server, workers=1, MCP_SERVERS="away=http://127.0.0.1:1/mcp")
    assert pool.error({"tool_name": "whose"})[0] == "tool_unavailable"
    assert pool.output({"tool_name": "renamed"}) == "found by its other name"
    assert pool.pool.drain() == 0


@pytest.mark.parametrize("worker_id", ["ü" * 119, "w" * 119, "a:b.c/d*[x]"])
def test_long_and_odd_worker_ids(start: Callable[..., Wire], server: RedisServer, worker_id: str) -> None:
    """Any name the settings allow works, or is refused with its variable."""
    worker_id = own_name(worker_id)
    wire = start(server, workers=1, wait=False, WORKER_ID=worker_id)
    graph_id = wire.new_graph()
    entry = wire.add({"graph_id": graph_id, "node_id": "n", "config": RENAMED, "inputs": {}}, STREAMS[1])

    def ended() -> bool:
        return not wire.pool.process.running() or bool(wire.results(graph_id))

    wait_until(ended, 10, lambda: wire.pool.said())
    if not wire.pool.process.running():
        assert wire.pool.wait() == 78
        assert "WORKER_ID" in wire.pool.said()
        return
    assert wire.wait_result(graph_id)["data"]["worker_id"] == f"{worker_id}.1"
    wire.wait_gone(entry, STREAMS[1])
    assert wire.pool.drain() == 0
