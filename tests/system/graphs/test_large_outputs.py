"""Scenario 46: outputs of megabytes; what Redis keeps weighs little more than they do, processes stay small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.kit import Pool, RedisServer, wait_until
from tests.kit.processes import descendants
from tests.system.graphs.conftest import TOOLS, Kernel, tool

MIB = 1024 * 1024
ONES = 36


def peak_mib(pid: int) -> int:
    """The most memory that a process has ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def test_outputs_of_megabytes(redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel) -> None:
    """One of 4 MiB, many of 1 MiB: in the document those are left out above 32 MiB, unless all is asked for."""
    pool = executor(redis_server, command=("run", "--api"), workers=1, **TOOLS)
    nodes = {f"n{at}": tool("blob", bytes_wanted=MIB) for at in range(ONES)}
    run = kernel.submit({"nodes": {"large": tool("blob", bytes_wanted=4 * MIB - 1000), **nodes}, "output": "done"})
    wait_until(lambda: kernel.head(run).ended, 60)
    assert kernel.head(run).status == "completed"
    db = redis_server.client()
    outputs = 4 * MIB + ONES * MIB
    stored = sum(int(db.memory_usage(key, samples=0) or 0) for key in db.keys(f"dago:{{executor.work}}:run:{run}*"))
    assert outputs < stored + MIB and stored < 1.3 * outputs
    with httpx2.Client(base_url=f"{pool.api_url}/api/v1/graphs/{run}", timeout=60) as http:
        short = http.get("/result").json()["result"]
        assert short["n0"]["output"] is None and short["n0"]["metadata"]["output_bytes"] > MIB
        full = http.get("/result", params={"full": 1})
        assert len(full.content) > outputs
        assert len(json.loads(full.content)["result"]["large"]["output"]) == 4 * MIB - 1000
    wait_until(lambda: json.loads(db.get(f"dago:state:{run}") or b"{}")["status"] == "completed", 30)
    assert db.strlen(f"dago:state:{run}") < MIB
    peaks = {pid: peak_mib(pid) for pid in descendants(pool.process.pid)}
    assert peaks[pool.worker_pid()] < 180, peaks
    assert max(peaks.values()) < 350, peaks
