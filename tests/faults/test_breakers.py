"""A tool whose calls bring no answer does not empty the queue: items wait, one call a minute tries, then all go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stage import Stage
from tests.faults.test_refused_key import cli, waiting
from tests.faults.test_throttled import calls_tool
from tests.kit import Pool, wait_until
from tests.unit.executor_worker.providers.dialects import Dialect
from tests.unit.executor_worker.providers.fault_server import FaultServer, stream

MESSAGES = Dialect("anthropic")
ANSWER = stream(MESSAGES.begin(), MESSAGES.text("here"), MESSAGES.end())


def failed(stage: Stage) -> list[str]:
    return [result["data"]["error_code"] for result in stage.results() if result["type"] == "node.failed"]


def is_degraded(pool: Pool) -> bool:
    return bool(pool.health()["status"] == "degraded")


def try_now(stage: Stage, name: str) -> None:
    """Let the minute until the next try be over."""
    (breaker,) = stage.db.keys(f"dago:breaker:*:{name}")
    stage.db.hset(breaker, "not_before", 1)


def listed(stage: Stage) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(cli(stage, "throttle", "list", "--json"))}


def test_a_tool_that_is_away_holds_its_items_back(stage: Stage) -> None:
    """
    Five fail, over all workers of both pools; the others wait, and other tools go on.

    Health, `throttle` and metrics say so. One call tries; it waits again, and no item fails for that. One that is
    answered lets all go on, and none has lost an attempt. What would rather fail does.
    """
    pools = [stage.pool(workers=2, WORKER_ID=name).wait_ready(60) for name in ("one", "two")]
    graphs = [f"g{number}" for number in range(16)]
    for graph in graphs:
        stage.push("reach", graph)
    wait_until(lambda: waiting(pools[0]) == 11, 30, lambda: f"all but five wait; {stage.where()}")
    assert failed(stage) == ["tool_unavailable"] * 5
    stage.push("nap", "other")
    assert stage.result("other", 20)["type"] == "node.completed"
    for pool in pools:
        wait_until(partial(is_degraded, pool), 10, "both pools say so")
    (problem,) = pools[0].health()["problems"]
    assert "tool/reach (tool_unavailable, 11 items wait)" in problem
    assert pools[0].metrics()["dago_tool_held_back"] == 1
    (held,) = listed(stage).values()
    assert held["name"] == "tool/reach" and held["waiting"] == 11 and 0 < held["opens_s"] <= 60

    parked = pools[0].metrics()["dago_items_postponed_total"] + pools[1].metrics()["dago_items_postponed_total"]
    try_now(stage, "reach")
    wait_until(lambda: listed(stage)["tool/reach"]["opens_s"] > 0, 20, "one call has tried")
    wait_until(
        lambda: sum(pool.metrics()["dago_items_postponed_total"] for pool in pools) == parked + 1, 10, "and no other"
    )
    wait_until(lambda: waiting(pools[0]) == 11, 10, "it waits again")
    assert len(failed(stage)) == 5

    for number in range(5):
        stage.push("reach_or_fail", f"f{number}")
    wait_until(lambda: len(failed(stage)) == 10, 20, "five as ever")
    stage.push("reach_or_fail", "f5")
    assert "tool/reach_or_fail is held back" in stage.result("f5", 20)["data"]["error"]

    stage.journal.let_go("reach")
    try_now(stage, "reach")
    stage.wait_nothing_left(30)
    done = [result for result in stage.results() if result["type"] == "node.completed"]
    assert len(done) == 12 and {result["data"]["attempt"] for result in stage.results()} == {1}
    assert "tool/reach_or_fail is no longer held back" in cli(stage, "throttle", "clear", "--all")
    wait_until(lambda: pools[0].health()["status"] == "healthy", 10, "it is well again")


def test_calls_that_do_not_end_count_also_where_the_worker_was_killed(stage: Stage) -> None:
    """What was begun is over, whatever came of it: it fails. What comes then waits, until it is cleared."""
    pool = stage.pool(workers=2).wait_ready(60)
    for number in range(4):
        stage.push("drag", f"g{number}")
    wait_until(lambda: len(failed(stage)) == 4, 20, lambda: stage.where())
    stage.push("drag", "hard", hard=True)
    assert stage.result("hard", 30)["data"]["error_code"] == "tool_timeout"
    assert pool.wait_event("node.failed", 5, graph="hard")["where"] == "tool:drag"
    stage.push("drag", "waits")
    wait_until(lambda: waiting(pool) == 1, 20, lambda: stage.where())
    assert pool.wait_event("tool.held_back", 5, level="warn")["name"] == "tool/drag"
    stage.journal.let_go("drag")
    assert "tool/drag is no longer held back; 1 items waited for it" in cli(stage, "throttle", "clear", "tool/drag")
    assert stage.result("waits", 20)["type"] == "node.completed"


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    def write(**servers: dict[str, Any]) -> str:
        path = tmp_path / "mcp.json"
        path.write_text(json.dumps({"mcpServers": servers}))
        return str(path)

    return write


def pushed(stage: Stage, graph: str, config: dict[str, Any]) -> None:
    stage.push_raw(json.dumps({"graph_id": graph, "node_id": "n", "config": config, "inputs": {}}).encode())


def test_a_server_that_was_never_reached_holds_its_items_back(stage: Stage, config: Callable[..., str]) -> None:
    """By its own name, as nothing is known of its tools."""
    pool: Pool = stage.pool(workers=2, MCP_CONFIG=config(away={"url": "http://127.0.0.1:1/mcp"})).wait_ready(60)
    for number in range(7):
        pushed(stage, f"g{number}", {"tool_name": "away.search"})
    wait_until(lambda: waiting(pool) == 2, 30, lambda: stage.where())
    assert failed(stage) == ["tool_unavailable"] * 5
    assert set(listed(stage)) == {"mcp/away"}


def test_an_agent_waits_for_its_tool_and_goes_on(stage: Stage, config: Callable[..., str]) -> None:
    """No model is asked again, and the call is made once; until the tool is held back the model is told instead."""
    server = FaultServer()
    server.will(*(calls_tool("reach", mark=f"a{number}") if turn else ANSWER for number in range(5) for turn in (1, 0)))
    talks = {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": server.url, "LLM_API_KEY": "k", "LLM_MODEL": "m"}
    pool = stage.pool(workers=1, **talks).wait_ready(60)
    agent = {"llm_config": {}, "task": "q", "tools": ["reach"]}
    for number in range(5):
        pushed(stage, f"a{number}", agent)
    stage.wait_results(5)
    assert {result["type"] for result in stage.results()} == {"node.completed"}, "the model was told, and answered"
    server.will(calls_tool("reach", mark="later"), ANSWER)
    pushed(stage, "later", agent)
    wait_until(lambda: waiting(pool) == 1, 20, lambda: stage.where())
    asked = len(server.requests)
    try_now(stage, "reach")
    wait_until(lambda: listed(stage)["tool/reach"]["opens_s"] > 0, 20, "its call has tried, in vain")
    wait_until(lambda: waiting(pool) == 1, 20, "it waits again")
    stage.journal.let_go("reach")
    try_now(stage, "reach")
    output = stage.result("later", 20)["data"]["output"]
    assert (output["result"], output["tool_calls"][0]["ok"], len(output["tool_calls"])) == ("here", True, 1)
    assert len(server.requests) == asked + 1 and len(stage.journal.starts("later")) == 1
    server.close()
