"""Scenario 42: the clocks of hosts are an hour apart from Redis' and from each other; runs go as if they were right."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from tests.kit import Pool, RedisServer, Stopwatch
from tests.kit.paths import ROOT
from tests.kit.pool import PROGRAM
from tests.system.graphs.conftest import Kernel, calc, tool

HOUR_S = 3600
DELAY_S = 0.4


def clock(ahead_s: int) -> dict[str, str]:
    """Settings of a host whose clock is wrong."""
    path = f"{ROOT / 'tests' / 'kit' / 'clock'}:{ROOT}"
    return {"TOOL_MODULES": "tests.system.graphs.tools", "PYTHONPATH": path, "CLOCK_AHEAD_S": str(ahead_s)}


def at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def test_runs_do_not_care_what_time_hosts_think_it_is(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """One host is an hour behind, the API's an hour ahead: delays and timeouts are as long as they are said to be."""
    behind, taken = executor(redis_server, workers=1, **clock(-HOUR_S)), Stopwatch()
    ahead = executor(redis_server, command=("run", "--api"), workers=1, **clock(HOUR_S))
    again = {"max_attempts": 3, "delay": DELAY_S, "backoff": 1}
    nodes = {
        "start": {"type": "start"},
        "again": {**tool("fails_until", file=str(folder / "again"), times=2), "retry": again},
        "slow": {**tool("sleeps", seconds=60), "timeout": 1, "on_failure": "continue"},
        "sum": calc("{{again}} + 1"),
    }
    edges = [{"from": "start", "to": name} for name in ("again", "slow")] + [{"from": "again", "to": "sum"}]
    endless = {"nodes": {"a": tool("sleeps", seconds=60)}, "timeout": 1}
    with httpx2.Client(base_url=f"{ahead.api_url}/api/v1", timeout=60) as http:
        run = http.post("/graphs", json={"graph": {"nodes": nodes, "edges": edges}}).json()["graph_id"]
        assert kernel.wait(run)["status"] == "completed"
        late = http.post("/graphs", json={"graph": endless}).json()["graph_id"]
        assert kernel.wait(late)["error"].startswith("the run did not end within its time (graph_timeout); ")
        workers = http.get("/workers").json()["data"]
        assert all(one["healthStatus"] == "healthy" for one in workers) and len(workers) == 2
        for since, found in (("10m", [late, run]), ("1ms", [])):
            listed = http.get("/graphs", params={"since": since}).json()["graphs"]
            assert [one["graph_id"] for one in listed] == found, since
        assert http.get("/graphs", params={"until": "10m"}).json()["graphs"] == []
    assert kernel.result(run)["result"]["slow"]["metadata"]["error_code"] == "node_timeout"

    events = kernel.events(run)
    assert all(at(one) <= at(other) for one, other in pairwise(events)), "all by one clock"
    assert abs(at(events[0]) - datetime.now(UTC).timestamp()) < 600, "which is Redis'"
    times = {
        kind: [at(event) for event in events if (event["type"], event.get("node_id", "")) == kind]
        for kind in (
            ("node.retrying", "again"),
            ("node.queued", "again"),
            ("node.started", "slow"),
            ("node.failed", "slow"),
        )
    }
    waits = [
        queued - retrying
        for retrying, queued in zip(times["node.retrying", "again"], times["node.queued", "again"][1:], strict=True)
    ]
    others_s = taken.others_s()
    assert len(waits) == 2 and all(0.75 * DELAY_S - 0.01 <= wait < 5 + others_s for wait in waits), waits
    took_s = times["node.failed", "slow"][0] - times["node.started", "slow"][0]
    assert 0.9 < took_s < 10 + others_s, took_s
    command = [str(PROGRAM), "graph", "retry", "--since", "10m", "--dry-run"]
    for pool in (ahead, behind):
        env = {name: value for name, value in pool.env.items() if not name.startswith("DAGO_")}
        done = subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, check=False
        )
        assert late in done.stdout and run not in done.stdout, done
        assert not pool.seen("run.mended") and not pool.seen("slot.dead", reason="stuck")
        assert pool.metrics().get("dago_queue_wait_time_seconds_sum", 0.0) >= 0
