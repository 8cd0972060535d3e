"""Runs that fail, are cancelled, or take too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from executor_worker.broker.graphs import drive, runs
from tests.kit import Pool, RedisServer, Stopwatch, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool

BROKEN: dict[str, Any] = calc("1 / 0")


def test_failure_edge_is_taken_and_the_run_completes(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """A failure that an edge is for is handled: the success edge is not taken, the failure edge is."""
    executor(redis_server)
    nodes = {"a": BROKEN, "good": calc("1"), "bad": calc("2")}
    edges = [{"from": "a", "to": "good"}, {"from": "a", "to": "bad", "on": "failure"}]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    result = kernel.wait(run)
    assert result["status"] == "completed" and result["output"] == {"bad": 2}
    assert kernel.statuses(run) == {"a": "failed", "good": "skipped", "bad": "completed"}


def test_fail_fast_cancels_what_runs_and_what_has_not_begun(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """The run has failed within seconds, though a node of it would have run for a minute."""
    executor(redis_server, **TOOLS)
    nodes = {"slow": tool("sleeps", seconds=60), "broken": BROKEN, "next": calc("1")}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "slow", "to": "next"}]})
    result = kernel.wait(run, 10)
    assert result["status"] == "failed" and "zero" in result["error"], result
    assert kernel.statuses(run) == {"slow": "cancelled", "broken": "failed", "next": "cancelled"}
    assert [event["type"] for event in kernel.events(run)].count("graph.failed") == 1
    assert kernel.events(run)[-1]["type"] == "graph.failed"


def test_finish_lets_other_branches_go_on(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Nodes that do not depend on the failed one run to their ends; its successors are skipped."""
    executor(redis_server)
    nodes = {"broken": BROKEN, "other": calc("1"), "after": calc("{{other}} + 1"), "join": calc("3"), "any": calc("4")}
    edges = [{"from": "other", "to": "after"}]
    edges += [{"from": source, "to": target} for source in ("broken", "after") for target in ("join", "any")]
    nodes["any"]["join"] = "any"
    run = kernel.submit({"nodes": nodes, "edges": edges, "failure": "finish"})
    result = kernel.wait(run)
    assert result["status"] == "failed" and kernel.head(run).error == {
        "node_id": "broken",
        "error": result["error"],
        "error_code": "tool_failed",
    }
    expected = {"broken": "failed", "other": "completed", "after": "completed", "join": "skipped", "any": "completed"}
    assert kernel.statuses(run) == expected


def test_cancel_ends_the_run_within_two_seconds(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """What runs is stopped, what is queued is taken back, what had finished stays."""
    executor(redis_server, workers=1, **TOOLS)
    nodes = {"first": calc("1"), "slow": tool("sleeps", seconds=60), "queued": calc("2"), "later": calc("3")}
    edges = [{"from": "first", "to": "slow"}, {"from": "first", "to": "queued"}, {"from": "slow", "to": "later"}]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    wait_until(lambda: kernel.statuses(run)["slow"] == "running")
    began = Stopwatch()
    cancelled = drive(kernel.link, runs.cancel(run))
    assert (cancelled.running, cancelled.queued) == (1, 1)
    assert kernel.head(run).status == "cancelled"
    result = kernel.wait(run, 5)
    assert began.own_s() < 3
    assert result["status"] == "cancelled" and result["result"]["first"]["output"] == 1
    assert kernel.statuses(run) == {
        "first": "completed", "slow": "cancelled", "queued": "cancelled", "later": "cancelled"
    }  # fmt: skip
    events = kernel.events(run)
    assert events[-1]["type"] == "graph.cancelled"
    assert [event["node_id"] for event in events if event["type"] == "node.started"] == ["first", "slow"]


def test_run_that_lasts_too_long_fails(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """`graph_timeout`, and what runs then is cancelled."""
    executor(redis_server, **TOOLS)
    run = kernel.submit({"nodes": {"slow": tool("sleeps", seconds=60)}, "timeout": 0.5})
    result = kernel.wait(run, 10)
    head = kernel.head(run)
    assert result["status"] == "failed" and head.error is not None and head.error["error_code"] == "graph_timeout"
    assert kernel.statuses(run) == {"slow": "cancelled"}


def test_node_is_repeated_after_its_delay(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Each repetition is an attempt of its own; meanwhile no worker is held."""
    executor(redis_server, workers=1)
    node = {**BROKEN, "retry": {"max_attempts": 3, "delay": 0.3, "backoff": 1}}
    run = kernel.submit({"nodes": {"a": node, "b": calc("1")}, "failure": "finish"})
    result = kernel.wait(run)
    assert result["status"] == "failed" and result["result"]["a"]["metadata"]["attempt"] == 3
    kinds = [event["type"] for event in kernel.events(run) if event.get("node_id") == "a"]
    assert kinds == ["node.queued", "node.started", "node.retrying"] * 2 + [
        "node.queued",
        "node.started",
        "node.failed",
    ]


def test_timed_out_node_fails_and_can_be_handled(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """A node's own timeout is an error like others; TIMEOUT_NODE_EXECUTION is for nodes that name none."""
    executor(redis_server, TIMEOUT_NODE_EXECUTION="0.4", **TOOLS)
    slow = {**tool("sleeps", seconds=60), "on_failure": "continue"}
    nodes = {"own": {**slow, "timeout": 0.3}, "none": slow, "longer": {**tool("sleeps", seconds=0.8), "timeout": 20}}
    run = kernel.submit({"nodes": nodes})
    result = kernel.wait(run)
    assert result["status"] == "completed"
    codes = {name: node["metadata"].get("error_code") for name, node in result["result"].items()}
    assert codes == {"own": "node_timeout", "none": "node_timeout", "longer": None}
