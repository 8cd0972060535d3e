"""What the README tells a newcomer to do, done: the three examples, alone and on a pool of workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.kit import (
    PROGRAM,
    EverythingServer,
    ModelServer,
    Pool,
    RedisServer,
    everything_stdio,
    time_stdio,
    wait_until,
)
from tests.kit.paths import ROOT

EXAMPLES = ROOT / "examples"
NAMES = ("tool_example", "llm_example", "agent_example")
WORK = "executor.work"
COMPLETED, FAILED = "dago:events:node.completed", "dago:events:node.failed"
OUTPUTS: dict[str, Any] = {
    "total": 137.3,
    "greeting": {"sentence": "Thank you, Ada!", "language": "en"},
    "answer": "Yes: it arrives on Tuesday, 22 December.",
}


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return loaded


def program(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a person in the project's folder does."""
    plain = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "LLM_PROVIDER": "scripted"}
    command = [str(PROGRAM), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**plain, **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )


def teach(model: ModelServer) -> None:
    """Tell the model server what a model would answer to the examples."""
    greeting = json.dumps(OUTPUTS["greeting"])
    model.answer("Thank Ada", greeting)
    steps = [
        {"toolCalls": [{"name": "delivery_days", "arguments": {"country": "Norway", "service": "express"}}]},
        {"toolCalls": [{"name": "add_working_days", "arguments": {"start": "2026-12-17", "days": 3}}]},
        {"content": OUTPUTS["answer"]},
    ]
    for turn, step in enumerate(steps):
        model.answer("Ada asks", step, match={"turnIndex": turn})


def events(client: redis.Redis, stream: str) -> list[dict[str, Any]]:
    entries: Any = client.xrange(stream)
    return [json.loads(fields[b"data"]) for _, fields in entries]


def put(client: redis.Redis, graph_id: str) -> None:
    """Store the example's state under *graph_id* and put its three nodes on the stream."""
    state = {**document("graph_state"), "graph_id": graph_id}
    client.set(f"dago:state:{graph_id}", json.dumps(state))
    for name in NAMES:
        client.xadd(WORK, {"data": json.dumps({**document(name), "graph_id": graph_id})})


@pytest.fixture
def example_pool(
    executor: Callable[..., Pool],
    redis_server: RedisServer,
    model_server: ModelServer,
    everything_http: EverythingServer,
    mcp_config: Callable[..., Path],
) -> Pool:
    """A pool of four with the examples' tools and three MCP servers that are not ours."""
    teach(model_server)
    calendar = {"command": str(PROGRAM.with_name("python")), "args": [str(EXAMPLES / "calendar_server.py")]}
    return executor(
        redis_server,
        command=("run", "--workers", "4"),
        model=model_server,
        TOOL_MODULES="tools",
        PYTHONPATH=str(EXAMPLES),
        MCP_CONFIG=str(mcp_config(calendar=calendar, time=time_stdio(), everything=everything_stdio())),
        MCP_SERVERS=f"remote={everything_http.url}",
        MAX_DELIVERIES="50",  # one item may be hit again and again while its MCP servers are still starting
    )


def test_tool_example_runs_without_redis() -> None:
    """`once` needs nothing but the file and the state."""
    done = program("once", "examples/tool_example.json", "--state", "examples/graph_state.json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["status"] == "completed"
    assert float(said["output"]) == pytest.approx(OUTPUTS["total"])


@pytest.mark.parametrize("name", NAMES)
def test_examples_pass_a_dry_run(name: str) -> None:
    """Each example can be rendered and validated with the tools beside it; nothing is called."""
    tools = {"TOOL_MODULES": "tools", "PYTHONPATH": "examples", "MCP_CONFIG": "examples/mcp.json"}
    done = program("once", f"examples/{name}.json", "--state", "examples/graph_state.json", "--dry-run", env=tools)
    assert done.returncode == 0, done.stderr


def test_examples_run_on_a_pool(example_pool: Pool, redis_server: RedisServer, model_server: ModelServer) -> None:
    """The three examples end as the contract says: event, state, acknowledgement, registry, health, metrics."""
    client = redis_server.client()
    put(client, "example")
    wait_until(lambda: len(events(client, COMPLETED)) == len(NAMES), 90, pool_context(client, example_pool))

    done = {event["node_id"]: event for event in events(client, COMPLETED)}
    assert not events(client, FAILED)
    assert {event["graph_id"] for event in done.values()} == {"example"}
    assert {name: event["data"]["mode"] for name, event in done.items()} == {
        "total": "tool",
        "greeting": "llm",
        "answer": "agent",
    }
    assert all(event["data"]["attempt"] == 1 for event in done.values())
    assert float(done["total"]["data"]["output"]) == pytest.approx(OUTPUTS["total"])
    assert done["greeting"]["data"]["output"]["parsed"] == OUTPUTS["greeting"]
    answer = done["answer"]["data"]["output"]
    assert answer["result"] == OUTPUTS["answer"]
    assert [(call["name"], call["ok"]) for call in answer["tool_calls"]] == [
        ("delivery_days", True),
        ("add_working_days", True),
    ]
    last = model_server.requests()[-1]["body"]
    assert "2026-12-22" in json.dumps(last["messages"]), "the model saw what the MCP server answered"

    state = json.loads(client.get("dago:state:example") or b"")
    before = document("graph_state")
    assert state["inputs"] == before["inputs"]
    assert state["node_states"]["stock"] == before["node_states"]["stock"]
    assert {name: state["node_states"][name]["status"] for name in OUTPUTS} == dict.fromkeys(OUTPUTS, "completed")
    assert 0 < client.ttl("dago:state:example") <= 86400

    wait_until(lambda: client.xlen(WORK) == 0, 5, "settled entries are deleted")
    assert client.xpending(WORK, "executor-workers")["pending"] == 0
    check_events(done, state)
    check_pool(example_pool, client)
    assert example_pool.drain() == 0
    assert not list(client.scan_iter("dago:workers:*")), "a drained pool takes its names off"


def check_events(done: dict[str, dict[str, Any]], state: dict[str, Any]) -> None:
    """Event and state say the same of each node, in the contract's fields."""
    assert state["status"] == "running", "the graph's status is the orchestrator's"
    assert state["graph"] == document("graph_state")["graph"]
    for name, event in done.items():
        assert set(event) == {"id", "type", "timestamp", "graph_id", "execution_id", "node_id", "data"}
        always = {"graph_id", "node_id", "output", "worker_id", "mode", "attempt", "duration_ms"}
        assert set(event["data"]) == (always if name == "total" else always | {"usage"})
        entry = state["node_states"][name]
        assert set(entry) == {"node_id", "status", "output", "error", "started_at", "completed_at", "metadata"}
        assert entry["output"] == event["data"]["output"]
        assert entry["error"] is None
    assert done["answer"]["data"]["output"]["iterations"] == 3
    assert all(done[name]["data"]["usage"] == done[name]["data"]["output"]["usage"] for name in ("greeting", "answer"))


def check_pool(pool: Pool, client: redis.Redis) -> None:
    """Registry, health and metrics of four workers that have run the three examples and are idle again."""
    pool.wait_workers(lambda rows: [row["state"] for row in rows] == ["idle"] * 4)
    keys = {f"dago:workers:{pool.env['WORKER_ID']}.{slot}".encode() for slot in (1, 2, 3, 4)}

    def registered() -> list[dict[str, Any]]:
        assert set(client.scan_iter("dago:workers:*")) == keys
        return [json.loads(client.get(key) or b"{}") for key in keys]

    wait_until(lambda: all(entry["status"] == "idle" for entry in registered()), 5, "all are registered as idle")
    assert {entry["type"] for entry in registered()} == {"executor"}
    health = pool.health()
    assert (health["status"], health["redis"]) == ("healthy", "connected")
    assert health["workers"] == {"configured": 4, "starting": 0, "idle": 4, "busy": 0, "draining": 0, "dead": 0}
    assert health["last_processed"] is not None
    assert (pool.get("/live").status_code, pool.get("/ready").status_code) == (200, 200)
    metrics = pool.metrics()
    for mode in ("tool", "llm", "agent"):
        assert metrics[f'dago_nodes_executed_total{{node_type="{mode}",status="completed"}}'] == 1
    assert sum(count for name, count in metrics.items() if name.startswith("dago_llm_calls_total{")) == 4
    for tool in ("calculate", "delivery_days", "add_working_days"):
        assert metrics[f'dago_tool_executions_total{{tool="{tool}"}}'] == 1
    assert metrics["dago_items_fenced_total"] == metrics["dago_items_reclaimed_total"] == 0


FOREIGN = {
    "http": {"tool_name": "remote.echo", "tool_params": {"message": "over HTTP to {{customer}}"}},
    "stdio": {"tool_name": "everything.echo", "tool_params": {"message": "over stdio: {{order.id}}"}},
    "time": {
        "tool_name": "convert_time",
        "tool_params": {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
    },
}
FOREIGN_ANSWERS = {"http": "over HTTP to Ada", "stdio": "over stdio: A-", "time": "21:00"}


@pytest.mark.timeout(420)
def test_killed_workers_change_nothing(example_pool: Pool, redis_server: RedisServer) -> None:
    """
    Workers are killed at random moments while 48 items run: the results are those of an undisturbed run.

    The items are the examples and nodes that call MCP servers which are not ours, over HTTP and stdio.
    """
    client, chance = redis_server.client(), random.Random(1)

    def ended() -> int:
        return len(events(client, COMPLETED)) + len(events(client, FAILED))

    put_all(client, "undisturbed")
    # Four workers start three servers each, of which two are interpreters of their own: minutes where others work too.
    wait_until(lambda: ended() >= 6, 200, pool_context(client, example_pool))
    assert not events(client, FAILED), json.dumps(events(client, FAILED))
    expected = results(client, "undisturbed")
    for node_id, text in FOREIGN_ANSWERS.items():
        assert text in expected["states"][node_id][1]
    graphs = [f"graph-{number}" for number in range(8)]
    for graph_id in graphs:
        put_all(client, graph_id)
    killed, next_kill = 0, time.monotonic()

    def finished() -> bool:
        nonlocal killed, next_kill
        if killed < 6 and time.monotonic() >= next_kill:
            pids = [row["pid"] for row in example_pool.workers() if row["pid"]]
            kill(int(chance.choice(pids)) if pids else 0)
            killed, next_kill = killed + 1, time.monotonic() + chance.uniform(0, 0.3)
        return ended() >= 6 * (len(graphs) + 1)

    wait_until(finished, 180, pool_context(client, example_pool), every=0.005)
    assert killed >= 3
    assert not events(client, FAILED), json.dumps(events(client, FAILED))
    for graph_id in graphs:
        assert results(client, graph_id) == expected
    wait_until(lambda: client.xlen(WORK) == 0, 5, "nothing is left on the stream")
    assert client.xpending(WORK, "executor-workers")["pending"] == 0
    assert len(events(client, COMPLETED)) == 6 * (len(graphs) + 1), "each has one result"
    assert not client.exists(f"{WORK}:dead")
    assert example_pool.drain() == 0


def put_all(client: redis.Redis, graph_id: str) -> None:
    """The examples, and the nodes of foreign MCP servers beside them."""
    put(client, graph_id)
    for node_id, config in FOREIGN.items():
        client.xadd(WORK, {"data": json.dumps({"graph_id": graph_id, "node_id": node_id, "config": config})})


def results(client: redis.Redis, graph_id: str) -> dict[str, Any]:
    """What a graph's nodes came to, in events and in the state, without what differs from run to run."""
    mine = [event for event in events(client, COMPLETED) if event["graph_id"] == graph_id]
    said = sorted((event["node_id"], event["data"]["mode"], steady(event["data"]["output"])) for event in mine)
    state = json.loads(client.get(f"dago:state:{graph_id}") or b"")
    kept = {name: (entry["status"], steady(entry["output"])) for name, entry in state["node_states"].items()}
    return {"events": said, "states": kept, "inputs": state["inputs"], "status": state["status"]}


def steady(output: Any) -> str:
    """An output without durations and usage: a run that was resumed may have paid a call it does not know of."""
    if isinstance(output, dict):
        output = {key: value for key, value in output.items() if key != "usage"}
        calls = output.get("tool_calls", [])
        output["tool_calls"] = [{"name": call["name"], "ok": call["ok"]} for call in calls]
    return json.dumps(output, sort_keys=True)


def kill(pid: int) -> None:
    if not pid:
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it was replaced in the meantime


def pool_context(client: redis.Redis, pool: Pool) -> Callable[[], str]:
    """What to say where the items don't end."""
    return lambda: f"all items are settled; still on the stream: {client.xlen(WORK)}\n{pool.said(10)}"
