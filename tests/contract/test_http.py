"""The answers on HEALTH_PORT in each condition a pool can be in."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.contract.wire import Json, Wire, as_time
from tests.kit import RedisServer, holds_for, wait_until

COUNTS = {"configured", "starting", "idle", "busy", "draining", "dead"}
ROW = {"slot", "pid", "state", "phase", "item", "since", "items_done", "restarts", "pss_bytes"}


@pytest.fixture
def own_redis(room: Path) -> Iterator[RedisServer]:
    """A Redis that a test may spoil."""
    folder = room / f"own{time.monotonic_ns()}"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.close()


def hold(wire: Wire, gate: Path, node_id: str = "slow-node") -> str:
    graph_id = wire.new_graph()
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    wire.add({"graph_id": graph_id, "node_id": node_id, "config": config, "inputs": {}})
    return graph_id


def health(wire: Wire, status: str) -> Json | None:
    answer = wire.pool.get("/health")
    body: Json = answer.json()
    assert body["problems"] or body["status"] == "healthy", body
    return body if (answer.status_code, body["status"]) == (503 if status == "unhealthy" else 200, status) else None


def wait_health(wire: Wire, status: str, seconds: float = 10) -> Json:
    def now() -> str:
        return f"/health says {status}; it says {wire.pool.get('/health').text}\n{wire.pool.said(10)}"

    return wait_until(lambda: health(wire, status) or {}, seconds, now)


def ready(wire: Wire) -> tuple[int, str]:
    answer = wire.pool.get("/ready")
    return answer.status_code, answer.text.strip()


def test_health_of_a_whole_pool(wire: Wire) -> None:
    """200, exactly these fields, and times of the wire."""
    began = time.time() - 1  # in whole milliseconds at the latest
    wire.output({"tool_name": "renamed"})
    wire.pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    answer = wire.pool.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"status", "worker_id", "redis", "last_processed", "timestamp", "workers", "problems"}
    assert (body["status"], body["redis"], body["problems"]) == ("healthy", "connected", [])
    assert body["worker_id"] == wire.pool.env["WORKER_ID"]
    assert set(body["workers"]) == COUNTS
    assert body["workers"] == {"configured": 2, "starting": 0, "idle": 2, "busy": 0, "draining": 0, "dead": 0}
    assert began < as_time(body["last_processed"]) <= as_time(body["timestamp"]) < time.time() + 1


def test_nothing_processed_yet_is_null(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """`last_processed` is null before the first item."""
    pool = start(own_redis, workers=1)
    assert pool.pool.health()["last_processed"] is None
    pool.output({"tool_name": "renamed"})
    wait_until(lambda: pool.pool.health()["last_processed"], 10, "it is told")  # after the result is there
    assert pool.pool.drain() == 0


def test_live_and_ready_of_a_whole_pool(wire: Wire) -> None:
    """Both 200; ready says so."""
    assert wire.pool.get("/live").status_code == 200
    assert ready(wire) == (200, "ready")


def test_other_paths_and_methods(wire: Wire) -> None:
    """404 for a path nobody knows; only reading is allowed; HEAD is reading."""
    assert wire.pool.get("/nope").status_code == 404
    assert wire.pool.get("/").status_code == 404
    url = f"http://127.0.0.1:{wire.pool.port}/health"
    assert httpx2.post(url, json={}, timeout=60).status_code in (404, 405, 501)
    head = httpx2.head(url, timeout=60)
    assert (head.status_code, head.content) == (200, b"")
    assert wire.pool.get("/health?verbose=1").status_code == 200


def test_workers_of_a_pool(wire: Wire, gate: Path) -> None:
    """Each slot's row has exactly these fields; a busy one names phase and item."""
    graph_id = hold(wire, gate)
    rows = wire.pool.wait_workers(lambda rows: any(row["phase"] == "tool:wait_for_file" for row in rows))
    assert [row["slot"] for row in rows] == [1, 2]
    assert all(set(row) == ROW for row in rows)
    busy = next(row for row in rows if row["state"] == "busy")
    idle = next(row for row in rows if row is not busy)
    assert graph_id in busy["item"]
    assert "slow-node" in busy["item"]
    assert (idle["state"], idle["phase"], idle["item"]) == ("idle", "waiting", None)
    for row in rows:
        os.kill(row["pid"], 0)
        assert abs(as_time(row["since"]) - time.time()) < 120
        assert type(row["items_done"]) is int and type(row["restarts"]) is int
    counts = wire.pool.health()["workers"]
    assert (counts["busy"], counts["idle"]) == (1, 1)
    done = busy["items_done"]
    gate.touch()
    rows = wire.pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    assert next(row for row in rows if row["slot"] == busy["slot"])["items_done"] == done + 1
    rows = wire.pool.wait_workers(lambda rows: all(row["pss_bytes"] for row in rows))
    assert all(2**20 < row["pss_bytes"] < 2**30 for row in rows)


def test_the_phase_while_a_model_is_asked(wire: Wire) -> None:
    """`llm` while a model is asked."""
    graph_id = wire.new_graph()
    prompt = json.dumps({"script": [{"reply": "x", "delay_s": 4}]})
    wire.add({"graph_id": graph_id, "node_id": "n", "config": {"llm_config": {"prompt": prompt}}, "inputs": {}})
    wire.pool.wait_workers(lambda rows: any(row["phase"] == "llm" for row in rows))
    wire.wait_result(graph_id)


def test_a_killed_worker_counts_as_a_restart(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """The row of its slot says one restart more, under another pid."""
    pool = start(own_redis, workers=2)
    pid = pool.pool.worker_pid(1)
    os.kill(pid, signal.SIGKILL)
    rows = pool.pool.wait_workers(lambda rows: rows[0]["restarts"] == 1 and rows[0]["state"] == "idle")
    assert rows[0]["pid"] != pid
    assert rows[1]["restarts"] == 0
    assert pool.pool.drain() == 0


def test_redis_away_is_unhealthy_but_alive(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """503 `unhealthy`, `disconnected`, not ready, yet live; all is well again when Redis is back."""
    pool = start(own_redis, workers=2)
    own_redis.kill()
    body = wait_health(pool, "unhealthy")
    assert body["redis"] == "disconnected"
    assert ready(pool) == (503, "not ready")
    assert pool.pool.get("/live").status_code == 200
    assert len(pool.pool.workers()) == 2
    own_redis.start()
    body = wait_health(pool, "healthy")
    assert body["redis"] == "connected"
    wait_until(lambda: ready(pool) == (200, "ready"), 5)
    assert pool.output({"tool_name": "renamed"})
    assert pool.pool.drain() == 0


def test_a_frozen_redis_is_unhealthy(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """A Redis that accepts connections and never answers is away as well."""
    pool = start(own_redis, workers=1)
    own_redis.freeze()
    try:
        assert wait_health(pool, "unhealthy")["redis"] == "disconnected"
        assert pool.pool.get("/live").status_code == 200
        holds_for(lambda: pool.pool.get("/live").status_code == 200, 0.5)
    finally:
        own_redis.thaw()
    wait_health(pool, "healthy")
    assert pool.pool.drain() == 0


def test_starting_without_redis_is_not_ready(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """It waits for a Redis that is not there yet: live, not ready; then ready by itself."""
    own_redis.kill()
    pool = start(own_redis, workers=1, wait=False)

    def live() -> bool:
        try:
            return pool.pool.get("/live").status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(live, 10, "it answers")
    assert ready(pool) == (503, "not ready")
    assert pool.pool.get("/health").status_code == 503
    own_redis.start()
    pool.pool.wait_ready()
    wait_health(pool, "healthy")
    assert pool.pool.drain() == 0


def test_a_draining_pool(start: Callable[..., Wire], own_redis: RedisServer, gate: Path) -> None:
    """`draining`: not ready, live, and the worker that finishes its item counts as draining."""
    pool = start(own_redis, workers=2)
    graph_id = hold(pool, gate)
    pool.pool.wait_workers(lambda rows: any(row["state"] == "busy" for row in rows))
    pool.pool.send(signal.SIGTERM)
    body = wait_until(
        lambda: body if (body := pool.pool.health())["status"] == "draining" else {}, 5, "/health says draining"
    )
    assert ready(pool) == (503, "not ready")
    assert pool.pool.get("/live").status_code == 200
    wait_until(lambda: pool.pool.health()["workers"]["draining"] == 1, 5, lambda: str(pool.pool.health()))
    assert set(body["workers"]) == COUNTS
    gate.touch()
    assert pool.pool.wait() == 0
    assert pool.wait_result(graph_id)["type"] == "node.completed"


def test_a_paused_pool_is_degraded(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """TSTP: 200 `degraded`, live; nothing is taken until CONT."""
    pool = start(own_redis, workers=1)
    pool.pool.send(signal.SIGTSTP)
    wait_health(pool, "degraded")
    assert pool.pool.get("/live").status_code == 200
    graph_id = pool.new_graph()
    pool.add({"graph_id": graph_id, "node_id": "n", "config": {"tool_name": "renamed"}, "inputs": {}})
    holds_for(lambda: not pool.results(graph_id), 0.5)
    pool.pool.send(signal.SIGCONT)
    wait_health(pool, "healthy")
    assert pool.wait_result(graph_id)["type"] == "node.completed"
    assert pool.pool.drain() == 0


def test_a_pool_whose_slots_all_hang_is_unhealthy(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """No slot makes progress: 503 although Redis is there; one that does: degraded or better."""
    pool = start(own_redis, workers=2)
    pids = [row["pid"] for row in pool.pool.workers()]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        assert wait_health(pool, "unhealthy")["redis"] == "connected"
        assert ready(pool)[0] == 503
        os.kill(pids[0], signal.SIGCONT)
        wait_until(lambda: pool.pool.get("/health").status_code == 200, 5, "one slot is enough")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_health(pool, "healthy")
    assert pool.pool.drain() == 0


def test_a_stopped_main_loop_is_not_live(start: Callable[..., Wire], own_redis: RedisServer) -> None:
    """`/live` fails once the supervisor itself has stopped turning."""
    pool = start(own_redis, workers=1)
    pool.pool.send(signal.SIGSTOP)
    try:
        wait_until(lambda: pool.pool.get("/live").status_code == 503, 12, "it is noticed")
    finally:
        pool.pool.send(signal.SIGCONT)
    wait_until(lambda: pool.pool.get("/live").status_code == 200, 5, "it turns again")
    assert pool.pool.drain() == 0


def test_many_slow_clients_do_no_harm(wire: Wire) -> None:
    """Connections that say nothing keep nobody from an answer, nor the pool from working."""
    idle: list[Any] = [socket.create_connection(("127.0.0.1", wire.pool.port)) for _ in range(50)]
    try:
        assert wire.pool.get("/health").status_code == 200
        assert wire.output({"tool_name": "renamed"})
    finally:
        for one in idle:
            one.close()
