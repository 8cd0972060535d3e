"""Who works here, as Redis shows it: `dago:workers:<WORKER_ID>.<slot>`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.contract.wire import Json, Wire, as_time
from tests.kit import RedisServer, Stopwatch, wait_until

FIELDS = {
    "id", "type", "status", "registered_at", "last_heartbeat", "current_task", "pending_tasks", "version", "metadata",
}  # fmt: skip


def key(wire: Wire, slot: int = 1) -> str:
    return f"dago:workers:{wire.pool.env['WORKER_ID']}.{slot}"


def idle(wire: Wire, slot: int) -> Json:
    entry = wire.worker(slot)
    return entry if entry.get("status") == "idle" else {}


def hold(wire: Wire, gate: Path) -> str:
    """Keep a worker busy until *gate* is made; return the graph's id."""
    graph_id = wire.new_graph()
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    wire.add({"graph_id": graph_id, "node_id": "slow-node", "config": config, "inputs": {}})
    return graph_id


def test_an_idle_worker_has_all_its_fields(wire: Wire) -> None:
    """Each slot has an entry with exactly these fields, soon after the start."""
    for slot in (1, 2):
        entry = wait_until(partial(idle, wire, slot), 5)
        assert set(entry) == FIELDS
        assert entry["id"] == f"{wire.pool.env['WORKER_ID']}.{slot}"
        assert entry["type"] == "executor"
        assert entry["current_task"] is None
        assert entry["pending_tasks"] == 0
        assert entry["version"]
        assert isinstance(entry["metadata"], dict)
        assert as_time(entry["registered_at"]) <= as_time(entry["last_heartbeat"]) <= time.time() + 1


def test_entries_end_by_themselves(wire: Wire) -> None:
    """Their time to live is 30 s and is renewed every 5 s."""
    wait_until(lambda: wire.redis.ttl(key(wire)) > 0, 5)
    taken = Stopwatch()
    first = as_time(wire.worker()["last_heartbeat"])
    beat = wait_until(lambda: t if (t := as_time(wire.worker()["last_heartbeat"])) > first else 0.0, 7, "the next beat")
    assert beat - first < 6.5 + taken.others_s()
    assert 28 - taken.others_s() <= wire.redis.ttl(key(wire)) <= 30


def test_a_busy_worker_says_what_it_is_at(wire: Wire, gate: Path) -> None:
    """A change of status is written within about a second, with the task."""
    graph_id = hold(wire, gate)

    def busy() -> Json:
        entries = [wire.worker(slot) for slot in (1, 2)]
        return next((entry for entry in entries if entry.get("status") == "busy"), {})

    entry = wait_until(busy, 2.5, "busy is written")
    assert "slow-node" in entry["current_task"]
    assert graph_id in entry["current_task"]
    assert entry["pending_tasks"] == 1

    def told() -> bool:
        about = busy().get("metadata", {})
        return (about.get("mode"), about.get("phase"), about.get("attempt")) == ("tool", "tool:wait_for_file", 1)

    wait_until(told, 7, "with the next beat, what it does")
    about = busy()["metadata"]
    assert as_time(about["since"]) <= time.time() < as_time(about["deadline"])
    assert about["last_minute"]["completed"] >= 0
    gate.touch()
    wait_until(lambda: not busy(), 2.5, "idle again is written")


def test_a_stopped_worker_is_unhealthy(wire: Wire) -> None:
    """A worker that is stopped by a signal shows as unhealthy, and as idle when it goes on."""
    pid = wire.pool.worker_pid(2)
    wait_until(lambda: wire.worker(2).get("status") == "idle", 5)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: wire.worker(2).get("status") == "unhealthy", 5, "unhealthy is written")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: wire.worker(2).get("status") == "idle", 5, "idle again")


def test_a_new_worker_registers_anew(wire: Wire) -> None:
    """After a worker was killed its successor stands under the same id with a later `registered_at`."""
    wait_until(lambda: wire.worker(1).get("status") == "idle", 5)
    first = as_time(wire.worker(1)["registered_at"])
    os.kill(wire.pool.worker_pid(1), signal.SIGKILL)
    wait_until(
        lambda: wire.worker(1).get("status") == "idle" and as_time(wire.worker(1)["registered_at"]) > first,
        5,
        "the next one",
    )


def test_entries_are_removed_on_exit(start: Callable[..., Wire], shared_redis: RedisServer) -> None:
    """A drained pool leaves nothing in the registry, and no consumer that holds nothing."""
    pool = start(shared_redis, workers=3)
    wait_until(lambda: all(pool.worker(slot) for slot in (1, 2, 3)), 5, "all are registered")
    assert pool.pool.drain() == 0
    assert not [slot for slot in (1, 2, 3) if pool.worker(slot)]
    found: Any = pool.redis.xinfo_consumers("executor.work", "executor-workers")
    assert not [one for one in found if one["name"].decode().startswith(pool.pool.env["WORKER_ID"])]


def test_a_removed_slot_leaves_the_registry(start: Callable[..., Wire], shared_redis: RedisServer) -> None:
    """One slot fewer: its entry goes; one more: it is there."""
    pool = start(shared_redis, workers=2)
    wait_until(lambda: pool.worker(2).get("status") == "idle", 5)
    pool.pool.send(signal.SIGTTOU)
    wait_until(lambda: not pool.worker(2), 5, "slot 2 is gone")
    pool.pool.send(signal.SIGTTIN)
    wait_until(lambda: pool.worker(2).get("status") == "idle", 5, "slot 2 is back")
    assert pool.pool.drain() == 0
