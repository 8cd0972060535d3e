"""Scenario 36: a worker is killed between a settle and its reply, so that it never learns what it has taken."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit import Pool, Proxy, RedisServer, alive, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, tool

ANSWER = b"the answer of a"


@pytest.mark.parametrize("lost", ["reply", "request"])
def test_worker_killed_between_settle_and_reply_queues_successors_once(
    redis_server: RedisServer,
    executor: Callable[..., Pool],
    proxy: Callable[..., Proxy],
    kernel: Kernel,
    folder: Path,
    lost: str,
) -> None:
    """What had arrived is not done again, what had not is; each successor is queued once and the run goes on."""
    line = proxy(redis_server.port)
    pool = executor(redis_server, workers=1, REDIS_ADDR=line.addr, LEASE="30", **TOOLS)
    kernel.wait(kernel.submit({"nodes": {"warm": tool("passes")}}))  # from here on the server knows the scripts
    worker = pool.worker_pid()
    killed: list[int] = []

    def on_request(chunk: bytes) -> None:
        if ANSWER in chunk and not killed:
            killed.append(worker)
            line.lose_replies, line.black_hole = lost == "reply", lost == "request"
            if lost == "request":
                os.kill(worker, signal.SIGKILL)

    line.on_request = on_request
    nodes = {
        "a": tool("answers", file=str(folder / "a"), answer=ANSWER.decode()),
        "b": tool("noted", file=str(folder / "b")),
        "c": tool("noted", file=str(folder / "c")),
        "join": tool("noted", file=str(folder / "join")),
    }
    edges = [
        {"from": "a", "to": "b"},
        {"from": "a", "to": "c"},
        {"from": "b", "to": "join"},
        {"from": "c", "to": "join"},
    ]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    if lost == "reply":
        wait_until(lambda: kernel.statuses(run)["a"] == "completed", 10)
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: killed and not alive(worker), 10, "the worker is dead")
    line.lose_replies = line.black_hole = False
    line.cut()

    assert kernel.wait(run)["output"] == 1
    events = kernel.events(run)
    assert Counter(event["node_id"] for event in events if event["type"] == "node.queued") == dict.fromkeys(nodes, 1)
    assert Counter(event["node_id"] for event in events if event["type"] == "node.completed") == dict.fromkeys(nodes, 1)
    called = {name: len((folder / name).read_text().splitlines()) for name in nodes}
    assert called == {"a": 1 if lost == "reply" else 2, "b": 1, "c": 1, "join": 1}
    assert not pool.seen("run.mended")
