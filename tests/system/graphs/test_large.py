"""Graphs and outputs that are too large for one script."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.kit import Pool, RedisServer, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool


def test_wide_graph_is_worked_off_in_slices(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Thousands of roots, a join of all of them, and no more queued at once than the window lets."""
    count = 3000
    nodes = {f"n{at}": tool("passes", value=at) for at in range(count)}
    edges = [{"from": name, "to": "join"} for name in nodes]
    run = kernel.submit({"nodes": {**nodes, "join": calc("1")}, "edges": edges}, queued_max=100)
    assert redis_server.client().xlen("executor.work") == 100
    pool = executor(redis_server, workers=2, **TOOLS)
    result = kernel.wait(run, 90)
    assert result["status"] == "completed" and result["output"] == 1
    assert [node["output"] for node in result["result"].values()] == [*range(count), 1]
    wait_until(lambda: json.loads(redis_server.client().get(f"dago:state:{run}") or b"{}")["status"] == "completed", 20)
    document = json.loads(redis_server.client().get(f"dago:state:{run}") or b"")
    assert document["node_states"] == result["result"]
    wait_until(lambda: not redis_server.client().xlen("dago:{executor.work}:steps"), 10)
    assert not pool.seen("settle.refused"), pool.said()


def test_skips_cascade_in_slices(redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel) -> None:
    """One end that skips thousands of nodes in layers does not hold Redis; the rest is done step by step."""
    layers, width = 6, 40
    nodes = {
        "first": calc("1"),
        **{f"n{layer}.{at}".replace(".", "-"): calc("2") for layer in range(layers) for at in range(width)},
    }
    edges = [{"from": "first", "to": f"n0-{at}", "condition": "output == 2"} for at in range(width)]
    edges += [
        {"from": f"n{layer}-{source}", "to": f"n{layer + 1}-{target}"}
        for layer in range(layers - 1)
        for source in range(width)
        for target in range(width)
    ]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    executor(redis_server, workers=2)
    assert kernel.wait(run, 60)["status"] == "completed"
    statuses = kernel.statuses(run)
    assert statuses.pop("first") == "completed" and set(statuses.values()) == {"skipped"}


def test_large_document_follows_soon(redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel) -> None:
    """Above 1 MiB it is written by a step; the result is there at once."""
    run = kernel.submit({"nodes": {f"n{at}": tool("blob", bytes_wanted=400_000) for at in range(4)}})
    executor(redis_server, workers=2, **TOOLS)
    result = kernel.wait(run, 30)
    assert [len(node["output"]) for node in result["result"].values()] == [400_000] * 4
    db = redis_server.client()
    wait_until(lambda: json.loads(db.get(f"dago:state:{run}") or b"{}")["status"] == "completed", 20)
    assert json.loads(db.get(f"dago:state:{run}") or b"")["node_states"] == result["result"]
    assert db.ttl(f"dago:state:{run}") > 0


def test_what_a_run_stores_weighs_little_more_than_its_data(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """At most 1.3 × graph, inputs and outputs, 8 KiB, and 1 KiB a node; beside the document."""
    count, size = 100, 2000
    document = {
        "nodes": {f"n{at}": tool("passes", value="v" * size) for at in range(count)},
        "edges": [{"from": f"n{at}", "to": f"n{at + 1}"} for at in range(count - 1)],
    }
    executor(redis_server, workers=2, **TOOLS)
    run = kernel.submit(document, {"q": "i" * size})
    kernel.wait(run)
    db = redis_server.client()
    stored = sum(int(db.memory_usage(key, samples=0) or 0) for key in db.keys(f"dago:{{executor.work}}:run:{run}*"))
    data = len(json.dumps(document)) + size + count * size
    assert stored <= 1.3 * data + 8 * 1024 + count * 1024, (stored, data)
