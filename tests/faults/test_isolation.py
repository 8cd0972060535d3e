"""Isolated tools in a real pool: whatever becomes of a call, its worker lives; when that dies, so does the call."""

from __future__ import annotations

import functools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stage import Stage, pids_of, unharmed
from tests.kit import Pool, wait_until
from tests.kit.processes import alive


@pytest.fixture
def pool(stage: Stage) -> Pool:
    """One worker that has isolated tools."""
    return stage.pool(
        workers=1, TOOL_MODULES="tests.system.tools.isolated_tools", DRAIN_TIMEOUT="1", MAX_DELIVERIES="2"
    )


def push(stage: Stage, graph: str, config: dict[str, Any]) -> None:
    stage.push_raw(json.dumps({"graph_id": graph, "node_id": "n", "config": config, "inputs": {}}).encode())


def call_of(tool: str, **params: Any) -> dict[str, Any]:
    return {"tool_name": tool, "tool_params": params}


def waiting(path: Path) -> list[int]:
    """The call's process and its child's, once they are there."""
    wait_until(path.exists, 20, "the isolated call has begun")
    return [int(pid) for pid in path.read_text().split()]


def are_gone(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


def test_a_worker_outlives_what_its_tools_do(stage: Stage, pool: Pool) -> None:
    """A crash is `tool_failed`, a call that can't be interrupted `tool_timeout`; both are told to an agent's model."""
    before = pids_of(pool)
    push(stage, "crash", call_of("end", how="segfault"))
    push(stage, "gil", call_of("never_end", how="gil"))
    asked = [{"name": "never_end", "arguments": {"how": "gil"}}, {"name": "end", "arguments": {"how": "segfault"}}]
    rules = [{"tool_calls": [call]} for call in asked] + [{"reply": "I see: {results}"}]
    push(stage, "agent", {"llm_config": {"prompt": json.dumps({"script": rules})}, "tools": ["never_end", "end"]})
    failed = {graph: stage.result(graph, 30)["data"] for graph in ("crash", "gil")}
    assert failed["crash"]["error_code"] == "tool_failed" and "SIGSEGV" in failed["crash"]["error"]
    assert failed["gil"]["error_code"] == "tool_timeout" and "never_end did not end" in failed["gil"]["error"]
    output = stage.result("agent", 30)["data"]["output"]
    assert [(call["name"], call["ok"]) for call in output["tool_calls"]] == [("never_end", False), ("end", False)]
    assert output["result"].startswith("I see")
    assert unharmed(pool, before)
    assert {event["data"]["attempt"] for event in stage.results()} == {1}


def test_a_killed_worker_takes_the_call_with_it(stage: Stage, pool: Pool, tmp_path: Path) -> None:
    """With its child in another session, within a second; the item is run again."""
    path = tmp_path / "pids"
    push(stage, "g", call_of("wait_for_ever", path=str(path)))
    for _ in range(2):
        pids = waiting(path)
        path.unlink()
        os.kill(pool.worker_pid(), signal.SIGKILL)
        wait_until(functools.partial(are_gone, pids), 1.0, "the call and its child are gone")
    assert stage.result()["data"]["error_code"] == "poisoned"


def test_an_item_that_is_given_back_ends_its_call(stage: Stage, pool: Pool, tmp_path: Path) -> None:
    """At QUIT the call is killed, the item is released, nothing is left behind; nobody has to be killed for it."""
    path = tmp_path / "pids"
    push(stage, "g", call_of("wait_for_ever", path=str(path)))
    waiting(path)
    pool.send(signal.SIGQUIT)
    assert pool.wait() == 0
    assert pool.seen("tool.killed", tool="wait_for_ever") and pool.seen("item.released")
    assert len(stage.pending()) == 1 and not stage.results()
