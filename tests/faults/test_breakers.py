"""A tool whose calls bring no answer does not empty the queue: items wait, one call a minute tries, then all go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from executor_worker.broker.graphs import drive, runs
from tests.faults.stage import COMPLETED, FAILED, Stage
from tests.faults.test_refused_key import cli, waiting
from tests.faults.test_throttled import calls_tool
from tests.kit import Pool, wait_until
from tests.system.graphs.conftest import Kernel, calc, tool
from tests.unit.executor_worker.providers.dialects import Dialect
from tests.unit.executor_worker.providers.fault_server import FaultServer, Handler, stream

MESSAGES = Dialect("anthropic")
ANSWER = stream(MESSAGES.begin(), MESSAGES.text("here"), MESSAGES.end())


class Model:
    """Calls `reach` once for each task, and answers when it has heard what came of it."""

    def __init__(self) -> None:
        self.server = FaultServer()
        self.server.will(self._reply)

    @staticmethod
    def _reply(handler: Handler) -> None:
        (task, *heard) = handler.body["messages"]
        (ANSWER if heard else calls_tool("reach", mark=text_of(task)))(handler)


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.server.close()


@pytest.fixture(scope="module")
def pools(shared_stage: Stage, model: Model, tmp_path_factory: pytest.TempPathFactory) -> list[Pool]:
    """Two, with a server of tools that nobody has ever reached."""
    path = tmp_path_factory.mktemp("mcp") / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"away": {"url": "http://127.0.0.1:1/mcp"}}}))
    talks = {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": model.server.url, "LLM_API_KEY": "k", "LLM_MODEL": "m"}
    return [shared_stage.pool(workers=2, MCP_CONFIG=str(path), **talks) for _ in range(2)]


@pytest.fixture
def stage(shared_stage: Stage, pools: list[Pool]) -> Iterator[Stage]:
    """The file's stage with nothing held back, and nothing left of the test before."""
    yield shared_stage
    for name in ("reach", "drag"):
        (shared_stage.journal.folder / f"{name}.go").unlink(missing_ok=True)
    cli(shared_stage, "throttle", "clear", "--all")
    shared_stage.wait_nothing_left(20)
    shared_stage.db.delete(COMPLETED, FAILED)


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


def has_tried(stage: Stage, name: str) -> bool:
    return bool(listed(stage)[f"tool/{name}"]["opens_s"] > 0)


def test_a_tool_that_is_away_holds_its_items_back(stage: Stage, pools: list[Pool]) -> None:
    """
    Five fail, over all workers of both pools; the others wait, and other tools go on.

    Health, `throttle` and metrics say so. One call tries; it waits again, and no item fails for that. One that is
    answered lets all go on, and none has lost an attempt. What would rather fail does.
    """
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
    wait_until(lambda: has_tried(stage, "reach"), 20, "one call has tried")
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


def test_calls_that_do_not_end_count_also_where_the_worker_was_killed(stage: Stage, pools: list[Pool]) -> None:
    """What was begun is over, whatever came of it: it fails. What comes then waits, until it is cleared."""
    for number in range(4):
        stage.push("drag", f"g{number}")
    wait_until(lambda: len(failed(stage)) == 4, 20, lambda: stage.where())
    stage.push("drag", "hard", hard=True)
    assert stage.result("hard", 30)["data"]["error_code"] == "tool_timeout"
    assert seen_by_one(pools, "node.failed", graph="hard")["where"].startswith("tests/faults/tools.py:")
    stage.push("drag", "waits")
    wait_until(lambda: waiting(pools[0]) == 1, 20, lambda: stage.where())
    assert seen_by_one(pools, "tool.held_back", level="warn", reason="tool_timeout")["name"] == "tool/drag"
    stage.journal.let_go("drag")
    assert "tool/drag is no longer held back; 1 items waited for it" in cli(stage, "throttle", "clear", "tool/drag")
    assert stage.result("waits", 20)["type"] == "node.completed"


def seen_by_one(pools: list[Pool], event: str, **fields: Any) -> dict[str, Any]:
    """Wait for an event of either pool."""
    found = wait_until(lambda: [seen for pool in pools for seen in pool.seen(event, **fields)], 5, event)
    return dict(found[0])


def pushed(stage: Stage, graph: str, config: dict[str, Any]) -> None:
    stage.push_raw(json.dumps({"graph_id": graph, "node_id": "n", "config": config, "inputs": {}}).encode())


def test_a_server_that_was_never_reached_holds_its_items_back(stage: Stage, pools: list[Pool]) -> None:
    """By its own name, as nothing is known of its tools."""
    for number in range(7):
        pushed(stage, f"g{number}", {"tool_name": "away.search"})
    wait_until(lambda: waiting(pools[0]) == 2, 30, lambda: stage.where())
    assert failed(stage) == ["tool_unavailable"] * 5
    assert set(listed(stage)) == {"mcp/away"}
    stage.db.delete("executor.work")


def test_an_agent_waits_for_its_tool_and_goes_on(stage: Stage, pools: list[Pool], model: Model) -> None:
    """No model is asked again, and the call is made once; until the tool is held back the model is told instead."""
    for number in range(5):
        pushed(stage, f"a{number}", agent(f"a{number}"))
    stage.wait_results(5)
    assert {result["type"] for result in stage.results()} == {"node.completed"}, "the model was told, and answered"
    asked = len(model.server.requests)
    pushed(stage, "later", agent("later"))
    wait_until(lambda: waiting(pools[0]) == 1, 20, lambda: stage.where())
    try_now(stage, "reach")
    wait_until(lambda: has_tried(stage, "reach"), 20, "its call has tried, in vain")
    wait_until(lambda: waiting(pools[0]) == 1, 20, "it waits again")
    stage.journal.let_go("reach")
    try_now(stage, "reach")
    output = stage.result("later", 20)["data"]["output"]
    assert (output["result"], output["tool_calls"][0]["ok"], len(output["tool_calls"])) == ("here", True, 1)
    assert len(model.server.requests) == asked + 2 and len(stage.journal.starts("later")) == 1


def agent(task: str) -> dict[str, Any]:
    return {"llm_config": {}, "task": task, "tools": ["reach"]}


def test_a_node_of_a_run_waits_for_its_tool_and_the_run_goes_on(stage: Stage, pools: list[Pool]) -> None:
    """Its sibling is not kept waiting; no attempt is used up, and the node is started by nobody meanwhile."""
    for number in range(5):
        stage.push("reach", f"g{number}")
    stage.wait_results(5)
    kernel = Kernel(stage.server)
    nodes = {"held": tool("reach", mark="run"), "free": calc("1"), "after": calc("{{free}} + 1")}
    edges = [{"from": "held", "to": "after"}, {"from": "free", "to": "after"}]
    run = kernel.submit({"nodes": nodes, "edges": edges})
    wait_until(lambda: waiting(pools[0]) == 1, 20, lambda: f"{kernel.statuses(run)}; {stage.where()}")
    wait_until(lambda: kernel.statuses(run)["free"] == "completed", 10, "the other goes on")
    assert not kernel.head(run).ended
    stage.journal.let_go("reach")
    try_now(stage, "reach")
    result = kernel.wait(run)
    assert (result["status"], result["output"]) == ("completed", 2)
    assert result["result"]["held"]["output"] == "reached"
    assert result["result"]["held"]["metadata"]["attempt"] == 1
    kernel.link.close()


def test_a_run_that_waits_for_a_tool_can_be_cancelled(stage: Stage, pools: list[Pool]) -> None:
    """What waits is let go, and is never called."""
    for number in range(5):
        stage.push("reach", f"g{number}")
    stage.wait_results(5)
    kernel = Kernel(stage.server)
    run = kernel.submit({"nodes": {"held": tool("reach", mark="cancelled")}})
    wait_until(lambda: waiting(pools[0]) == 1, 20, lambda: stage.where())
    drive(kernel.link, runs.cancel(run))
    assert kernel.wait(run)["status"] == "cancelled"
    wait_until(lambda: waiting(pools[0]) == 0, 10, "nothing waits any more")
    assert not stage.journal.starts("cancelled")
    kernel.link.close()
