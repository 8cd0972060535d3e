"""Queues: a pool takes what its QUEUES name, in that order, and nothing else; every command knows all of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.wire import Wire
from tests.kit import PROGRAM, RedisServer, holds_for, wait_until
from tests.kit.commands import run_program
from tests.system.graphs.conftest import Kernel

GPU = "executor.work:gpu"
Start = Callable[..., Wire]


def calc(expression: str, **more: Any) -> dict[str, Any]:
    return {"tool_name": "calculate", "tool_params": {"expression": expression}, **more}


@pytest.fixture(scope="module")
def plain(start: Start, shared_redis: RedisServer) -> Wire:
    """A pool of the default queue."""
    return start(shared_redis, workers=1)


@pytest.fixture(scope="module")
def gpu(start: Start, shared_redis: RedisServer) -> Wire:
    """A pool of one slot that serves a queue of its own, and a second one after it."""
    return start(shared_redis, workers=1, QUEUES="gpu,later", MAX_ITEM_BYTES="2000")


def command(wire: Wire, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    env = {"LLM_PROVIDER": "scripted", "HEALTH_PORT": "", **wire.server.env}
    return run_program(*arguments, env=env, cwd=wire.pool.folder, given=stdin)


def test_each_pool_runs_what_its_queues_hold(plain: Wire, gpu: Wire) -> None:
    """On one Redis, in one group, and the events say who did."""
    there = gpu.run(calc("1 + 1"), stream=GPU)
    here = plain.run(calc("1 + 1"))
    assert there["output"] == here["output"] == 2
    assert there["worker_id"].startswith(f"{gpu.pool.env['WORKER_ID']}.")
    assert here["worker_id"].startswith(f"{plain.pool.env['WORKER_ID']}.")


def test_preferred_queue_goes_first(gpu: Wire) -> None:
    """What was put into the later one before waits until nothing is left in the first."""
    gate = gpu.pool.folder / "gate"
    held = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    gpu.add({"graph_id": gpu.new_graph(), "node_id": "n", "config": held, "inputs": {}}, GPU)
    wait_until(lambda: gpu.redis.xpending(GPU, "executor-workers")["pending"] == 1)
    graphs = [gpu.new_graph() for _ in range(4)]
    for graph, stream in zip(graphs, ("executor.work:later", "executor.work:later", GPU, GPU), strict=True):
        gpu.add({"graph_id": graph, "node_id": "n", "config": calc("1"), "inputs": {}}, stream)
    gate.touch()
    for graph in graphs:
        gpu.wait_result(graph)
    done = [event["graph_id"] for event in gpu.events("dago:events:node.completed") if event["graph_id"] in graphs]
    assert done == [*graphs[2:], *graphs[:2]]


def test_submit_sends_items_where_their_nodes_say(plain: Wire, gpu: Wire) -> None:
    """From the item's own config, or from the graph's state; an impossible queue is refused with nothing sent."""
    graph, stored = gpu.new_graph(), gpu.new_graph()
    gpu.put_state(stored, graph={"nodes": {"n": {"config": calc("2", queue="gpu")}}})
    items = [
        {"graph_id": graph, "node_id": "a", "config": calc("1", queue="gpu"), "inputs": {}},
        {"graph_id": graph, "node_id": "b", "config": calc("1", queue="default"), "inputs": {}},
        {"id": gpu.new_graph(), "type": "node.work", "data": {"graph_id": stored, "node_id": "n"}},
    ]
    done = command(gpu, "submit", "-", "--json", stdin=json.dumps(items))
    assert done.returncode == 0, done
    assert [json.loads(line)["stream"] for line in done.stdout.splitlines()] == [GPU, "executor.work", GPU]
    gpu.wait_result(graph, 2)
    assert gpu.wait_result(stored)["data"]["worker_id"].startswith(gpu.pool.env["WORKER_ID"])
    bad = command(gpu, "submit", "-", stdin=json.dumps([items[1], {**items[0], "config": calc("1", queue="dead")}]))
    assert bad.returncode == 1 and "item 2: config.queue 'dead' must be a name" in bad.stderr


def test_runs_queue_their_nodes_where_these_say(plain: Wire, gpu: Wire) -> None:
    """One node here, one there; the run goes on whoever has ended one."""
    nodes = {
        name: {"type": "tool", "config": config}
        for name, config in (("a", calc("1")), ("b", calc("2", queue="gpu")), ("c", calc("3")))
    }
    graph = {"nodes": nodes, "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]}
    kernel = Kernel(plain.server)
    run = kernel.submit(graph)
    assert kernel.wait(run)["status"] == "completed"
    kernel.link.close()
    ran = {
        event["node_id"]: event["data"]["worker_id"]
        for event in plain.events("dago:events:node.completed")
        if event["graph_id"] == run
    }
    names = {"plain": plain.pool.env["WORKER_ID"], "gpu": gpu.pool.env["WORKER_ID"]}
    served = {node: next(key for key, name in names.items() if who.startswith(f"{name}.")) for node, who in ran.items()}
    assert served == {"a": "plain", "b": "gpu", "c": "plain"}


def test_dead_letters_of_a_queue_are_listed_and_go_back_to_it(gpu: Wire) -> None:
    """`dead` knows them without being told."""
    graph = gpu.new_graph()
    entry = gpu.add({"graph_id": graph, "node_id": "n", "config": calc("1"), "x": "y" * 2100, "inputs": {}}, GPU)
    gpu.wait_result(graph)
    listed = [one for one in json.loads(command(gpu, "dead", "list", "--json").stdout) if one["original_id"] == entry]
    assert [one["stream"] for one in listed] == [GPU]
    assert command(gpu, "dead", "requeue", listed[0]["id"]).returncode == 0
    gpu.wait_result(graph, 2)


def test_status_metrics_and_registry_know_queues(plain: Wire, gpu: Wire) -> None:
    """Also one that only another pool serves."""
    seen = json.loads(command(plain, "status", "--json").stdout)
    assert {"executor.work", GPU, "executor.work:later"} <= {one["stream"] for one in seen["streams"]}
    wait_until(lambda: f'dago_queue_depth{{queue="{GPU}"}}' in gpu.pool.metrics())
    assert 'dago_queue_depth{queue="executor.work"}' not in gpu.pool.metrics()
    pools = {one["id"].rpartition(".")[0]: one["metadata"]["pool"]["queues"] for one in seen["others"]}
    assert pools[gpu.pool.env["WORKER_ID"]] == ["gpu", "later"]
    assert pools[plain.pool.env["WORKER_ID"]] == ["default"]


@pytest.mark.parametrize("wait", [(), ("--wait", "--timeout", "0.1s")])
@pytest.mark.parametrize(
    ("queues", "said"),
    [
        (("default",), []),
        (("gpu", "later"), []),
        (("lonely",), ["lonely"]),
        (("lonely", "default", "lost", "gpu"), ["lonely", "lost"]),
    ],
)
def test_submit_says_of_each_queue_that_no_pool_takes_from(
    plain: Wire, gpu: Wire, queues: tuple[str, ...], said: list[str], wait: tuple[str, ...]
) -> None:
    """And which serve what; nothing of queues that are served, however idle their pool is."""
    items = [
        {"graph_id": plain.new_graph(), "node_id": "n", "config": calc("1", queue=queue), "inputs": {}}
        for queue in queues
    ]
    done = command(plain, "submit", "-", *wait, stdin=json.dumps(items))
    lines = [line for line in done.stderr.splitlines() if "no pool" in line]
    assert len(lines) == len(said), done.stderr
    assert all(f"takes from the queue {name} (" in line for name, line in zip(said, lines, strict=True))
    assert all(f"{gpu.pool.env['WORKER_ID']} serves gpu and later" in line for line in lines)
    assert all(f"`QUEUES={name} executor-worker run`" in line for name, line in zip(said, lines, strict=True))
    plain.redis.delete("executor.work:lonely", "executor.work:lost")


def test_what_no_pool_serves_waits_and_is_found(plain: Wire) -> None:
    """`status` counts it, `check` says that no pool serves it."""
    graph = plain.new_graph()
    item = {"graph_id": graph, "node_id": "n", "config": calc("1", queue="lonely"), "inputs": {}}
    done = command(plain, "submit", "-", stdin=json.dumps(item))
    assert done.returncode == 0 and "takes from the queue lonely" in done.stderr
    streams = json.loads(command(plain, "status", "--json").stdout)["streams"]
    assert [one["depth"] for one in streams if one["stream"] == "executor.work:lonely"] == [1]
    said = command(plain, "check")
    assert said.returncode == 1
    assert "fix QUEUES: 1 item waits in the queue lonely, which no pool on this Redis serves" in said.stdout
    holds_for(lambda: plain.results(graph) == [], 0.3)
    plain.redis.delete("executor.work:lonely")


@pytest.mark.parametrize("value", ["gpu,none", "a b", "dead", "gpu;x", ","])
def test_bad_queues_end_with_78(room: Any, shared_redis: RedisServer, value: str) -> None:
    """With the variable, the value and what it takes."""
    env = {"LLM_PROVIDER": "scripted", "HEALTH_PORT": "", "QUEUES": value, **shared_redis.env}
    done = subprocess.run([PROGRAM, "run"], env=env, cwd=room, capture_output=True, text=True, timeout=120)
    assert done.returncode == 78, done
    assert "QUEUES" in done.stderr and repr(value) in done.stderr


def test_pool_of_no_queue_is_refused_while_it_has_nothing_else(room: Any, shared_redis: RedisServer) -> None:
    env = {"LLM_PROVIDER": "scripted", "HEALTH_PORT": "", "QUEUES": "none", **shared_redis.env}
    done = subprocess.run([PROGRAM, "run"], env=env, cwd=room, capture_output=True, text=True, timeout=120)
    assert done.returncode == 78 and "nothing to do" in done.stderr, done
