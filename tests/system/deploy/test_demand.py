"""What KEDA measures is what there is to do and in hand: its triggers' commands, on the Redis of a real pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import WITH_TOOLS
from tests.contract.wire import WORK, WORK_EVENTS, Wire
from tests.kit import Pool, RedisServer, wait_until
from tests.system.deploy.conftest import DEPLOY, read_yaml
from tests.system.graphs.conftest import Kernel, calc
from tests.system.graphs.conftest import on as on


def measured(wire: Wire, trigger: dict[str, Any]) -> int:
    """Ask Redis what KEDA's scaler for such a trigger asks."""
    metadata = trigger["metadata"]
    stream, group = metadata["stream"], metadata.get("consumerGroup")
    if "streamLength" in metadata:
        return int(wire.redis.xlen(stream))
    if "pendingEntriesCount" in metadata:
        return int(wire.redis.xpending(stream, group)["pending"])
    (found,) = (one for one in wire.redis.xinfo_groups(stream) if one["name"] == group.encode())
    return int(found["lag"])


def demand(wire: Wire, file: Path) -> int:
    scaled = read_yaml(file)[-1]["spec"]
    values = {trigger["name"]: measured(wire, trigger) for trigger in scaled["triggers"]}
    return sum(values[name] for name in scaled["advanced"]["scalingModifiers"]["formula"].split(" + "))


@pytest.mark.parametrize(("deleted", "file"), [("1", "keda-settled-deleted.yaml"), ("0", "keda-settled-kept.yaml")])
def test_scaler_sees_what_is_to_do_and_in_hand(
    executor: Callable[..., Pool],
    redis_server: RedisServer,
    on: Callable[[RedisServer], Kernel],
    tmp_path: Path,
    deleted: str,
    file: str,
) -> None:
    """Some settled, two in hand, three waiting, on both streams: five; a run's ready nodes more. All settled: none."""
    pool = executor(redis_server, workers=2, DELETE_SETTLED=deleted, **WITH_TOOLS)
    wire, path, gate = Wire(redis_server, pool), DEPLOY / "kubernetes" / file, tmp_path / "go"
    for stream in (WORK, WORK_EVENTS):
        wire.output({"tool_name": "renamed"}, stream=stream)
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}}
    graphs = [wire.new_graph() for _ in range(5)]
    for number, graph_id in enumerate(graphs):
        item = {"graph_id": graph_id, "node_id": "n", "config": config, "inputs": {}}
        wire.add(item, (WORK, WORK_EVENTS)[number % 2])
    pool.wait_workers(lambda rows: all(row["state"] == "busy" for row in rows))
    wait_until(lambda: demand(wire, path) == 5, 5, lambda: f"five, not {demand(wire, path)}")
    # Of a run the nodes that are ready count, the one behind them does not yet.
    behind = {**calc("3"), "dependencies": ["a", "b"]}
    kernel = on(redis_server)
    run = kernel.submit({"nodes": {"a": calc("1"), "b": calc("2"), "c": behind}})
    wait_until(lambda: demand(wire, path) == 7, 5, lambda: f"seven, not {demand(wire, path)}")
    gate.touch()
    for graph_id in graphs:
        wire.wait_result(graph_id)
    kernel.wait(run)
    wait_until(lambda: demand(wire, path) == 0, 5, lambda: f"none, not {demand(wire, path)}")
