"""What the README tells a newcomer to do, done: the three examples, alone and on a pool of workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
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

ROOT = Path(__file__).parent.parent.parent
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
        workers=4,
        model=model_server,
        TOOL_MODULES="tools",
        PYTHONPATH=str(EXAMPLES),
        MCP_CONFIG=str(mcp_config(calendar=calendar, time=time_stdio(), everything=everything_stdio())),
        MCP_SERVERS=f"remote={everything_http.url}",
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
    wait_until(lambda: len(events(client, COMPLETED)) == len(NAMES), 30, circumstances(client, example_pool))

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
    registered = [json.loads(client.get(key) or b"{}") for key in client.scan_iter("dago:workers:*")]
    assert len(registered) == 4
    assert {entry["type"] for entry in registered} == {"executor"}
    health = example_pool.health()
    assert (health["status"], health["redis"]) == ("healthy", "connected")
    assert health["workers"]["configured"] == 4
    metrics = example_pool.metrics()
    executed = {name: value for name, value in metrics.items() if name.startswith("dago_nodes_executed_total{")}
    assert sum(executed.values()) == len(NAMES)
    assert example_pool.drain() == 0
    assert not list(client.scan_iter("dago:workers:*")), "a drained pool takes its names off"


@pytest.mark.parametrize(
    ("tool", "parameters", "expected"),
    [
        ("remote.echo", {"message": "over HTTP"}, "over HTTP"),
        ("everything.echo", {"message": "over stdio"}, "over stdio"),
        ("convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}, "21:00"),
    ],
)
def test_foreign_mcp_servers_answer(
    example_pool: Pool, redis_server: RedisServer, tool: str, parameters: dict[str, Any], expected: str
) -> None:
    """Tools of servers that are not ours are found by name, also where two servers share it."""
    client = redis_server.client()
    config = {"tool_name": tool, "tool_params": parameters}
    client.xadd(WORK, {"data": json.dumps({"graph_id": "g", "node_id": "n", "config": config, "inputs": {}})})
    wait_until(lambda: events(client, COMPLETED) + events(client, FAILED), 20, circumstances(client, example_pool))
    assert not events(client, FAILED), events(client, FAILED)
    assert expected in json.dumps(events(client, COMPLETED)[0]["data"]["output"])


def test_killed_workers_change_nothing(example_pool: Pool, redis_server: RedisServer) -> None:
    """Workers are killed all the time while 30 items run: each has one result, and it is the right one."""
    client = redis_server.client()
    graphs = [f"graph-{number}" for number in range(10)]
    for graph_id in graphs:
        put(client, graph_id)
    killed = 0

    def finished() -> bool:
        nonlocal killed
        count = len(events(client, COMPLETED)) + len(events(client, FAILED))
        busy = [row for row in example_pool.workers() if row["state"] == "busy" and row["pid"]]
        if busy and killed < 8 and count >= killed * 2:
            kill(int(busy[killed % len(busy)]["pid"]))
            killed += 1
        return count >= len(graphs) * len(NAMES)

    wait_until(finished, 60, circumstances(client, example_pool), every=0.02)
    assert killed >= 3
    assert not events(client, FAILED), events(client, FAILED)
    done = [(event["graph_id"], event["node_id"]) for event in events(client, COMPLETED)]
    assert sorted(done) == sorted((graph_id, node_id) for graph_id in graphs for node_id in OUTPUTS)
    for event in events(client, COMPLETED):
        if event["node_id"] == "answer":
            assert event["data"]["output"]["result"] == OUTPUTS["answer"]
    for graph_id in graphs:
        states = json.loads(client.get(f"dago:state:{graph_id}") or b"")["node_states"]
        assert {name: states[name]["status"] for name in OUTPUTS} == dict.fromkeys(OUTPUTS, "completed")
    wait_until(lambda: client.xlen(WORK) == 0, 5, "nothing is left on the stream")
    assert example_pool.drain() == 0


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it was replaced in the meantime


def circumstances(client: redis.Redis, pool: Pool) -> Callable[[], str]:
    """What to say where the items don't end."""
    return lambda: f"all items are settled; on the stream: {client.xlen(WORK)}\n{pool.said(10)}"
