"""Scenario 41: in mid-run Redis loses its last writes, fails over, is full or read-only; runs go on, none is mended."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executor_worker.broker.graphs import drive, runs
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.sentinels import Sentinels
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool

EVERY_S = 0.03
LENGTH = 12


def diamonds() -> dict[str, Any]:
    """Nodes in pairs behind each other, each pair joined, with a router that is decided where it stands."""
    nodes: dict[str, Any] = {}
    edges = []
    for at in range(LENGTH):
        nodes |= {f"l{at}": tool("sleeps", seconds=EVERY_S), f"r{at}": tool("sleeps", seconds=EVERY_S)}
        nodes[f"j{at}"] = {"type": "router", "config": {"rules": [{"condition": "true", "target": f"t{at}"}]}}
        nodes[f"t{at}"] = calc(f"{{{{l{at}}}}} + {{{{r{at}}}}}")
        edges += [{"from": f"l{at}", "to": f"j{at}"}, {"from": f"r{at}", "to": f"j{at}"}]
        edges += [{"from": f"t{at - 1}", "to": f"{side}{at}"} for side in "lr" if at]
    return {"nodes": nodes, "edges": edges}


def assert_ended_rightly(kernel: Kernel, run: str, seconds: float = 60.0) -> None:
    """Each node has ended once, the run too, and nothing of it was lost."""
    result = kernel.wait(run, seconds)
    assert result["status"] == "completed" and result["output"] == 2 * EVERY_S
    kinds = Counter((event["type"], event.get("node_id")) for event in kernel.events(run))
    nodes = diamonds()["nodes"]
    assert not {name: kinds["node.completed", name] for name in nodes if kinds["node.completed", name] != 1}
    assert kinds["graph.completed", None] == 1 and not kinds["run.mended", None]
    workers = [name for name in nodes if not name.startswith("j")]
    assert not {name: kinds["node.queued", name] for name in workers if kinds["node.queued", name] != 1}


def cut_off(server: RedisServer, chance: random.Random) -> int:
    """Kill the server as a power failure would: of its log the last bytes are not on the disk."""
    server.kill()
    (log,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    size = log.stat().st_size
    lost = chance.randrange(1, min(size // 4, 60_000))
    with log.open("r+b") as file:
        file.truncate(size - lost)
    return lost


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_roll_back_whole_when_the_last_writes_are_lost(
    start_server: Callable[..., RedisServer],
    executor: Callable[..., Pool],
    on: Callable[[RedisServer], Kernel],
    seed: int,
) -> None:
    """The log of Redis ends at any byte: all runs it still knows end rightly, and nothing had to be mended."""
    chance = random.Random(seed)
    server = start_server("redis", aof=True)
    kernel = on(server)
    pool = executor(server, workers=3, **TOOLS)
    submitted = [kernel.submit(diamonds()) for _ in range(4)]
    wait_until(lambda: sum(kernel.head(run).completed for run in submitted) > chance.randrange(20, 60))
    lost = cut_off(server, chance)
    server.start()
    kernel.link.close()
    submitted = [run for run in submitted if drive(kernel.link, runs.head(run)) is not None]
    assert submitted, f"the runs were submitted long before the last {lost} bytes"
    for run in submitted:
        assert_ended_rightly(kernel, run)
    assert not pool.seen("run.mended"), pool.said()


def test_runs_go_on_with_the_replica_that_takes_over(
    place: Callable[[str], Path],
    start_server: Callable[..., RedisServer],
    executor: Callable[..., Pool],
    on: Callable[[RedisServer], Kernel],
) -> None:
    """The primary is killed in mid-run: the sentinels name the replica, runs end there, none is mended."""
    sentinels = Sentinels(place, start_server)
    try:
        before, after = on(sentinels.primary), on(sentinels.replica)
        pool = executor(sentinels.primary, workers=3, REDIS_ADDR=sentinels.url, **TOOLS)
        submitted = [before.submit(diamonds()) for _ in range(3)]
        wait_until(lambda: sum(before.head(run).completed for run in submitted) > 30)
        sentinels.primary.kill()
        wait_until(lambda: sentinels.named() is sentinels.replica, 30, "the sentinels name the replica")
        submitted = [run for run in submitted if drive(after.link, runs.head(run)) is not None]
        assert submitted, "they were submitted long before"
        for run in submitted:
            assert_ended_rightly(after, run)
        assert not pool.seen("run.mended") and not pool.seen("slot.dead"), pool.said()
    finally:
        sentinels.close()


def test_full_redis_refuses_submits_and_lets_runs_go_on_with_room(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """503 while it is full; the runs that were accepted wait, and end when there is room."""
    pool = executor(redis_server, command=("run", "--api"), workers=2, **TOOLS)
    submitted = [kernel.submit(diamonds()) for _ in range(2)]
    wait_until(lambda: kernel.head(submitted[0]).completed > 8)
    redis_server.client().config_set("maxmemory", "1mb")
    with httpx2.Client(base_url=pool.api_url, timeout=60) as http:
        wait_until(lambda: http.post("/api/v1/graphs", json={"graph": diamonds()}).status_code == 503, 10)
        refused = http.post("/api/v1/graphs", json={"graph": diamonds()})
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "UNAVAILABLE"
        assert int(refused.headers["Retry-After"]) > 0
        assert http.get(f"/api/v1/graphs/{submitted[0]}").status_code == 200, "what only reads is answered"
        wait_until(lambda: any("OOM" in str(event) or "maxmemory" in str(event) for event in pool.events), 20)
        assert not any(kernel.head(run).ended for run in submitted)
        redis_server.client().config_set("maxmemory", "0")
        for run in submitted:
            assert_ended_rightly(kernel, run)
        wait_until(lambda: http.post("/api/v1/graphs", json={"graph": {"nodes": {"a": calc("1")}}}).is_success, 10)
    assert not pool.seen("run.mended") and not pool.seen("slot.dead")


def test_full_redis_lets_a_run_be_cancelled(redis_server: RedisServer, kernel: Kernel) -> None:
    """What only makes room is not refused."""
    run = kernel.submit(diamonds())
    redis_server.client().config_set("maxmemory", "1mb")
    drive(kernel.link, runs.cancel(run))
    assert kernel.head(run).ended and not redis_server.client().xlen("executor.work")


def test_read_only_redis_is_waited_for(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """A primary that was made a replica: when it may write again the run goes on where it was."""
    gate = folder / "gate"
    pool = executor(redis_server, workers=2, **TOOLS)
    nodes = {
        "a": tool("waits_for", file=str(gate), note=str(folder / "note")),
        "b": tool("noted", file=str(folder / "b")),
    }
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "b"}]})
    wait_until(lambda: (folder / "note").exists())
    redis_server.client().replicaof("127.0.0.1", "1")
    gate.touch()
    pool.wait_event("redis.lost", 20)
    assert kernel.statuses(run) == {"a": "running", "b": "pending"}
    redis_server.client().replicaof("NO", "ONE")
    assert kernel.wait(run)["output"] == 1
    assert len((folder / "note").read_text().splitlines()) == 1, "it was not run twice"
    assert not pool.seen("run.mended") and not pool.seen("slot.dead")
