"""On a machine that is no Linux: what forks says so, everything else works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.kit import Pool, RedisServer
from tests.kit.paths import ROOT
from tests.system.cli.conftest import Done, environment

EXAMPLES = str(ROOT / "examples")
STATE = ("--state", f"{EXAMPLES}/graph_state.json")


def elsewhere(*commands: tuple[str, ...], **settings: str) -> list[Done]:
    """Run the command lines, one after the other, where nothing is there that only Linux has."""
    given = {"TOOL_MODULES": "tools", "PYTHONPATH": f"{EXAMPLES}:{ROOT}", **settings}
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.cli.elsewhere"],
        input=json.dumps(commands),
        cwd=ROOT,
        env=environment(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return [Done(**ended) for ended in json.loads(done.stdout)]


def test_what_forks_needs_linux() -> None:
    """Status 78 and one sentence that says what to do instead."""
    for done, command in zip(
        elsewhere(("run",), ("work",), ("demo", "--resume")), ("run", "work", "demo"), strict=True
    ):
        assert (done.status, done.out) == (78, "")
        assert done.err.startswith(f"executor-worker: `{command}` forks workers that only Linux can watch over")
        assert "docker compose up" in done.err and done.err.count("\n") == 1


def test_once_runs_every_mode_with_every_kind_of_tool() -> None:
    """A tool, a model, an agent with a function and an MCP server; `check` finds nothing wrong with them."""
    once = [("once", f"{EXAMPLES}/{name}_example.json", *STATE) for name in ("tool", "llm", "agent")]
    tool, llm, agent, tools = elsewhere(*once, ("tools", "list"), MCP_CONFIG=f"{EXAMPLES}/mcp.json")
    assert [done.status for done in (tool, llm, tools)] == [0, 0, 0], (tool.err, llm.err, tools.err)
    assert tool.json["output"] == 137.3
    assert agent.json["status"] == "completed", agent.out
    assert "delivery_days" in tools.out and "add_working_days" in tools.out


def test_an_isolated_tool_says_that_it_needs_linux(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It fails alone."""
    folder = tmp_path_factory.mktemp("isolated")
    (folder / "alone.py").write_text(
        "from executor_worker.tools import tool\n\n\n@tool(isolate=True)\ndef far() -> int:\n    return 1\n"
    )
    call = ("tools", "call", "far", "--params", "{}")
    (done,) = elsewhere(call, TOOL_MODULES="alone", PYTHONPATH=f"{folder}:{ROOT}")
    assert done.status == 1
    assert "isolated tools run on Linux only" in done.out + done.err


def test_clients_ask_a_pool_on_another_machine(redis_server: RedisServer, executor: Callable[..., Pool]) -> None:
    """Work is submitted, waited for, looked at, as from anywhere else; a pool of this machine there can't be."""
    pool = executor(redis_server, LLM_PROVIDER="scripted")
    submit, status, dead, replay, check, health, ctl = elsewhere(
        ("submit", f"{EXAMPLES}/tool_example.json", *STATE, "--wait"),
        ("status", "--all"),
        ("dead", "list"),
        ("replay", "no-graph", "no-node"),
        ("check",),
        ("health",),
        ("ctl", "status"),
        REDIS_ADDR=pool.env["REDIS_ADDR"],
    )
    assert (submit.status, submit.json["data"]["output"]) == (0, 137.3), submit.err
    assert status.status == 0 and pool.env["WORKER_ID"] in status.out
    assert dead.status == 0, dead.err
    assert replay.status == 1 and "no-graph" in replay.err
    assert "fix" not in check.out and check.status == 0, check.out
    assert (health.status, health.err) == (1, "executor-worker: no pool of this user runs here.\n")
    assert ctl.status == 1 and "no pool takes commands at" in ctl.err
