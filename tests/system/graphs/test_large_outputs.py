"""Scenario 46: outputs of megabytes; what Redis keeps weighs little more than they do, processes stay small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executor_worker.broker.graphs import Steps, drive, runs
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.names import run_key
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.processes import descendants
from tests.system.graphs.conftest import TOOLS, Kernel, tool

MIB = 1024 * 1024
ONES = 36


def peak_mib(pid: int) -> int:
    """The most memory that a process has ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


@pytest.mark.cold
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
        assert full.json() == json.loads(drive(kernel.link, runs.result(run, full=True)))
    wait_until(lambda: json.loads(db.get(f"dago:state:{run}") or b"{}")["status"] == "completed", 30)
    assert db.strlen(f"dago:state:{run}") < MIB
    peaks = {pid: peak_mib(pid) for pid in descendants(pool.process.pid)}
    assert peaks[pool.worker_pid()] < 180, peaks
    assert max(peaks.values()) < 350, peaks


def test_a_join_of_too_much_fails_and_ends_no_worker(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """It is told what to do; what it names is not read."""
    pool = executor(redis_server, workers=1, **TOOLS)
    worker = pool.worker_pid()
    names = [f"n{at}" for at in range(17)]
    nodes = {name: tool("blob", bytes_wanted=4 * MIB - 1000) for name in names}
    nodes["join"] = tool("passes", value={name: f"{{{{{name}}}}}" for name in names})
    result = kernel.wait(kernel.submit({"nodes": nodes, "edges": [{"from": name, "to": "join"} for name in names]}), 60)
    state = result["result"]["join"]
    assert result["status"] == state["status"] == "failed" and state["metadata"]["error_code"] == "template_error"
    assert "names outputs of 68 MiB in all, of 17 nodes; at most 64 MiB are read" in state["error"]
    assert pool.worker_pid() == worker and peak_mib(worker) < 180


@pytest.mark.parametrize("full", [False, True])
def test_no_call_reads_more_than_a_page_of_outputs(redis_server: RedisServer, kernel: Kernel, full: bool) -> None:
    """What a document leaves out is not read at all; the rest by pages, for its node and for an end that it led to."""
    names = [f"n{at}" for at in range(80)]
    nodes = {name: tool("passes") for name in names}
    edges = [{"from": name, "to": "end"} for name in names]
    run = kernel.submit({"nodes": {**nodes, "end": {"type": "end"}}, "edges": edges})
    db, base = redis_server.client(), run_key(run)
    sizes = {name: (MIB // 2 if at % 7 else 1000) for at, name in enumerate(names)}
    at = 1_800_000_000_000
    ended = NodeField("completed", 1, 1, 1, at, at, at, "*").text()
    db.hset(f"{base}:nodes", mapping=dict.fromkeys([*names, "end"], ended))
    for name, size in sizes.items():
        db.hset(f"{base}:outputs", name, json.dumps("x" * (size - 2)))
    read: list[str] = []

    def watched(steps: Steps[bytes | None]) -> Steps[bytes | None]:
        requests = next(steps)
        while True:
            for request in requests:
                if isinstance(request, tuple) and request[:2] == (b"HMGET", f"{base}:outputs"):
                    some = [str(name) for name in request[2:]]
                    assert sum(sizes[name] for name in some) <= MIB
                    read.extend(some)
            try:
                requests = steps.send((yield requests))
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    states = json.loads(drive(kernel.link, watched(runs.document(run, full=full))) or b"")["node_states"]
    assert sorted(read) == sorted([*names, *names] if full else [name for name, size in sizes.items() if size == 1000])
    told = {name: states[name]["metadata"].get("output_bytes") for name in names}
    assert told == {name: size if size > 64 * 1024 and not full else None for name, size in sizes.items()}
    assert (states["end"]["output"] is None) is not full
    assert all((states[name]["output"] is None) is (told[name] is not None) for name in names)


def shaped(shape: str) -> dict[str, Any]:
    """A graph by what its output is made of."""
    nodes: dict[str, Any] = {"s": {"type": "start"}, **{name: tool("passes", value=name) for name in "abc"}}
    edges = [{"from": source, "to": name} for source, name in ("sa", "ab", "ac")]
    match shape:
        case "an end of one" | "an end of many":
            nodes["end"] = {"type": "end"}
            edges += [{"from": name, "to": "end"} for name in ("bc" if shape == "an end of many" else "b")]
        case "failed":
            nodes["b"] = tool("calculate", expression="1 / 0")
        case "cancelled":
            nodes["a"] = tool("sleeps", seconds=30)
    return {"nodes": nodes, "edges": edges, **({"output": {"x": "{{b}}"}} if shape == "its own" else {})}


def test_full_result_in_pieces_is_the_one_made_at_once(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Of each kind of output, and of runs that have none; whom it can't be told is told before the first piece."""
    pool = executor(redis_server, command=("run", "--api"), workers=2, **TOOLS)
    shapes = ("the last ones", "an end of one", "an end of many", "its own", "failed", "cancelled")
    submitted = {shape: kernel.submit(shaped(shape), {"q": 1}) for shape in shapes}
    many = {f"n{at}": tool("blob", bytes_wanted=10_000) for at in range(120)}  # a document that a worker has to write
    submitted["its own, of many"] = kernel.submit({"nodes": many, "output": "done"})
    with httpx2.Client(base_url=f"{pool.api_url}/api/v1/graphs", timeout=60) as http:
        run = submitted["cancelled"]
        assert http.get(f"/{run}/result", params={"full": 1}).status_code == 409
        assert http.get(f"/{run[:-8]}00000000/result", params={"full": 1}).status_code == 404
        drive(kernel.link, runs.cancel(run))
        for shape, run in submitted.items():
            wait_until(lambda run=run: kernel.head(run).ended, 30, shape)  # type: ignore[misc]
            answered = http.get(f"/{run}/result", params={"full": 1})
            assert answered.headers["content-type"].startswith("application/json")
            assert answered.json() == json.loads(drive(kernel.link, runs.result(run, full=True))), shape
        assert answered.json()["output"] == "done"
