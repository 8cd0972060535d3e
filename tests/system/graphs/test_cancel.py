"""Scenario 39: a run is cancelled while its node is parked, in a model call, settling, or waits for its next try."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.names import PARKED
from tests.kit import Pool, Proxy, RedisServer, Stopwatch, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool

ENDED_WITHIN_S = 2.0
BUSY_S = 1.5  # that a busy machine may add


def cancel_and_wait(kernel: Kernel, run: str) -> dict[str, Any]:
    """Cancel a run, wait for its end in time; nothing of it starts meanwhile and its last event is the only one."""
    began = Stopwatch()
    before = len(kernel.events(run))
    drive(kernel.link, runs.cancel(run))
    assert kernel.head(run).status == "cancelled"
    result = kernel.wait(run, 10)
    assert began.own_s() < ENDED_WITHIN_S + BUSY_S
    kinds = [event["type"] for event in kernel.events(run)]
    assert kinds[-1] == "graph.cancelled" and kinds.count("graph.cancelled") == 1
    assert not {"node.started", "node.queued", "node.retrying"} & set(kinds[before:])
    assert result["status"] == "cancelled"
    return result


def model(script: list[dict[str, Any]]) -> dict[str, Any]:
    """A node that asks the scripted model."""
    return {"type": "llm", "config": {"prompt": json.dumps({"script": script})}}


def test_cancel_while_a_node_is_in_a_model_call(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """The worker stops within the time too, and takes the next item."""
    pool = executor(redis_server, workers=1)
    nodes = {"first": calc("1"), "ask": model([{"delay_s": 50, "reply": "too late"}]), "later": calc("2")}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "first", "to": "ask"}, {"from": "ask", "to": "later"}]})
    pool.wait_workers(lambda rows: str(rows[0].get("phase", "")).startswith("llm"))
    pid = pool.worker_pid()
    cancel_and_wait(kernel, run)
    assert kernel.statuses(run) == {"first": "completed", "ask": "cancelled", "later": "cancelled"}
    assert kernel.wait(kernel.submit({"nodes": {"next": calc("3")}}), ENDED_WITHIN_S + BUSY_S)["output"] == 3
    assert pool.worker_pid() == pid, "it had only to leave the call"


def test_cancel_while_a_node_is_parked(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """It waits for the only pool that has its tool: its place is taken from it at once."""
    gate = folder / "gate"
    having = executor(redis_server, workers=1, **TOOLS)
    busy = kernel.submit({"nodes": {"busy": tool("waits_for", file=str(gate))}})
    having.wait_workers(lambda rows: rows[0]["phase"] == "tool:waits_for")
    executor(redis_server, workers=1)
    run = kernel.submit({"nodes": {"a": tool("passes"), "b": calc("2")}, "edges": [{"from": "a", "to": "b"}]})
    db = redis_server.client()
    wait_until(lambda: db.hlen(PARKED), 20, "the node is parked")
    cancelled = drive(kernel.link, runs.cancel(run))
    assert cancelled.running + cancelled.queued == 1
    assert not db.hlen(PARKED) and db.xlen("executor.work") == 1, "only what is busy"
    assert kernel.head(run).ended and kernel.statuses(run) == {"a": "cancelled", "b": "cancelled"}
    before = kernel.events(run)
    gate.touch()
    assert kernel.wait(busy)["output"] == "there"
    assert kernel.wait(kernel.submit({"nodes": {"next": tool("passes", value=3)}}))["output"] == 3
    assert kernel.events(run) == before, "nor did it start later"


def test_cancel_while_a_node_waits_for_its_next_attempt(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """The timer that would have queued it again is nothing any more."""
    executor(redis_server, workers=1)
    run = kernel.submit({"nodes": {"a": {**calc("1 / 0"), "retry": {"max_attempts": 5, "delay": 60}}}})
    wait_until(lambda: kernel.statuses(run)["a"] == "waiting")
    db, timers = redis_server.client(), "dago:{executor.work}:timers"
    members = cast("list[bytes]", db.zrange(timers, 0, -1))
    repetition = next(member for member in members if b"\tretry\t" in member)
    cancel_and_wait(kernel, run)
    db.zadd(timers, {repetition: db.time()[0] * 1000})  # its time has come
    wait_until(lambda: db.zscore(timers, repetition) is None, 10, "the timer is done with")
    assert kernel.events(run)[-1]["type"] == "graph.cancelled" and kernel.statuses(run) == {"a": "cancelled"}


def test_cancel_while_a_node_is_settling(
    redis_server: RedisServer, executor: Callable[..., Pool], proxy: Callable[..., Proxy], kernel: Kernel, folder: Path
) -> None:
    """Its settle was sent and comes after the cancellation: its result is kept, its edges are not followed."""
    line = proxy(redis_server.port)
    executor(redis_server, workers=1, REDIS_ADDR=line.addr, **TOOLS)
    answer = "the answer of a"
    nodes = {"a": tool("answers", file=str(folder / "a"), answer=answer), "b": calc("1")}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "b"}]})
    cancelled: list[runs.Cancelled] = []

    def on_request(chunk: bytes) -> None:
        if answer.encode() in chunk and not cancelled:
            cancelled.append(drive(kernel.link, runs.cancel(run)))

    line.on_request = on_request
    wait_until(lambda: cancelled, 20, "its settle was sent")
    result = kernel.wait(run, ENDED_WITHIN_S + BUSY_S)
    assert cancelled[0].running == 1
    assert kernel.statuses(run) == {"a": "completed", "b": "cancelled"}
    assert result["status"] == "cancelled" and result["result"]["a"]["output"] == answer
    kinds = [event["type"] for event in kernel.events(run)]
    assert kinds[-1] == "graph.cancelled" and kinds.count("graph.cancelled") == 1
    assert not redis_server.client().xlen("executor.work")
