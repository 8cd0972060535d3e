"""A tool that only another live pool has: its items wait for that pool, and fail only where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.wire import Wire
from tests.kit import RedisServer, wait_until

Start = Callable[..., Wire]
BARE = {"TOOL_MODULES": "", "NODE_TIMEOUT": "20s"}


@pytest.fixture(scope="module")
def bare(start: Start, shared_redis: RedisServer) -> Wire:
    """A pool without the tools of `contract_tools`: an older deployment."""
    return start(shared_redis, workers=2, **BARE)


def push(wire: Wire, count: int, config: dict[str, object]) -> list[str]:
    graphs = [wire.new_graph() for _ in range(count)]
    for graph in graphs:
        wire.add({"graph_id": graph, "node_id": "n", "config": config, "inputs": {}})
    return graphs


def test_unknown_tool_of_no_pool_fails_at_once(bare: Wire) -> None:
    assert bare.error({"tool_name": "plus", "tool_params": {"a": 1}})[0] == "unknown_tool"


def test_items_go_to_the_pool_that_has_their_tool(bare: Wire, start: Start, shared_redis: RedisServer) -> None:
    """Also in an agent's list; whichever pool takes one first, uncounted."""
    newer = start(shared_redis, workers=2)
    name = newer.pool.env["WORKER_ID"]
    wait_until(lambda: bare.redis.exists(f"dago:executor:offers:{name}"))
    plus = push(bare, 12, {"tool_name": "plus", "tool_params": {"a": 1}})
    agents = push(bare, 4, {"llm_config": {"prompt": "x"}, "tools": ["plus", "calculate"]})
    for graph in (*plus, *agents):
        data = bare.wait_result(graph)["data"]
        assert "error" not in data and data["attempt"] == 1, data
        assert data["worker_id"].startswith(f"{name}.")
    newer.pool.drain()
    assert not bare.redis.exists(f"dago:executor:offers:{name}"), "a pool that leaves offers nothing"
    assert bare.error({"tool_name": "plus", "tool_params": {"a": 1}})[0] == "unknown_tool"


def test_item_waits_while_that_pool_is_busy_and_no_longer_than_its_limit(
    start: Start, shared_redis: RedisServer, bare: Wire
) -> None:
    """It is parked, not failed; when its time is over it says what is missing."""
    newer = start(shared_redis, workers=1)
    name = newer.pool.env["WORKER_ID"]
    wait_until(lambda: bare.redis.exists(f"dago:executor:offers:{name}"))
    gate = newer.pool.folder / "gate"
    (held,) = push(bare, 1, {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}})
    wait_until(lambda: any(row["phase"] == "tool:wait_for_file" for row in newer.pool.workers()))
    (waits,) = push(bare, 1, {"tool_name": "plus", "tool_params": {"a": 1}})
    wait_until(lambda: bare.pool.metrics()["dago_items_parked"] == 1)
    assert bare.results(waits) == []
    gate.touch()
    assert bare.wait_result(waits)["data"]["output"] == 11
    bare.wait_result(held)
    newer.pool.drain()


def test_pool_of_another_queue_is_no_help(bare: Wire, start: Start, shared_redis: RedisServer) -> None:
    """It does not take from this one's streams: waiting for it would be in vain."""
    newer = start(shared_redis, workers=1, QUEUES="other")
    wait_until(lambda: bare.redis.exists(f"dago:executor:offers:{newer.pool.env['WORKER_ID']}"))
    assert bare.error({"tool_name": "plus", "tool_params": {"a": 1}})[0] == "unknown_tool"
    newer.pool.drain()
