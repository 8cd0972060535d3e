"""`"shared": true` in MCP_CONFIG: one server for all workers of a pool, whatever becomes of them and of the keeper."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.wire import Wire
from tests.kit import RedisServer, alive, wait_until
from tests.kit.paths import SERVERS

WORKERS = 3


@pytest.fixture
def sharing(start: Callable[..., Wire], shared_redis: RedisServer, room: Path) -> Wire:
    entry = {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "odd.py")], "shared": True}
    config = room / "shared.json"
    config.write_text(json.dumps({"mcpServers": {"odd": entry}}))
    return start(shared_redis, workers=WORKERS, MCP_CONFIG=str(config), LOG_LEVEL="debug")


def server_pid(wire: Wire) -> int:
    return int(wire.output({"tool_name": "pid", "tool_params": {}}))


def seen_by_all(wire: Wire, gate: Path) -> set[int]:
    """The server's process as each worker sees it: all are busy at once, so each has taken one."""
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    for _ in range(WORKERS - 1):
        wire.add({"graph_id": wire.new_graph(), "node_id": "n", "config": config, "inputs": {}})
    wire.pool.wait_workers(lambda rows: sum(row["state"] == "busy" for row in rows) == WORKERS - 1)
    pids = {server_pid(wire)}
    gate.touch()
    wire.pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    return pids


def test_all_workers_share_one_server(sharing: Wire, tmp_path: Path) -> None:
    """Also when one was replaced; a killed keeper and a reload bring a new one; none is left."""
    pool = sharing.pool
    pids = set[int]()
    for number in range(4):
        pids |= seen_by_all(sharing, tmp_path / str(number))
        os.kill(pool.worker_pid(1), signal.SIGKILL)
        pool.wait_event("slot.up", count=WORKERS + number + 1)
    assert len(pids) == 1
    before = pids.pop()
    keeper = int(pool.wait_event("keeper.started")["pid"])
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not alive(before), 10, "its server ends with the keeper's host")
    after = server_pid(sharing)
    assert after != before
    pool.send(signal.SIGHUP)
    pool.wait_event("pool.reloaded")
    last = server_pid(sharing)
    assert pool.drain() == 0
    assert not any(alive(pid) for pid in (before, after, last))
