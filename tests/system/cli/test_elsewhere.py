"""Without what macOS and Windows have not got: what forks says so, everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit import Pool, RedisServer
from tests.kit.paths import ROOT
from tests.system.cli.conftest import Done, environment

EXAMPLES = str(ROOT / "examples")
STATE = ("--state", f"{EXAMPLES}/graph_state.json")


SYSTEMS = ["darwin", "win32"]
ONCE = [("once", f"{EXAMPLES}/{name}_example.json", *STATE) for name in ("tool", "llm", "agent")]
ISOLATED = (
    "from executor_worker.tools import tool\n\n\n@tool(isolate=True)\ndef far() -> int:\n    return 1\n",
    ("tools", "call", "far", "--params", "{}"),
)


def elsewhere(system: str, *commands: tuple[str, ...], **settings: str) -> list[Done]:
    """Run the command lines, one after the other, where nothing is there that *system* has not got."""
    given = {"TOOL_MODULES": "tools", "PYTHONPATH": f"{EXAMPLES}:{ROOT}", **settings}
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.cli.elsewhere", system],
        input=json.dumps(commands),
        cwd=ROOT,
        env=environment(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return [Done(**ended) for ended in json.loads(done.stdout)]


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_forks_says_so_and_all_else_works(system: str, tmp_path: Path) -> None:
    """Each mode and each kind of tool; but Windows can't wait for a program's pipes, and so has no MCP over stdio."""
    source, call = ISOLATED
    (tmp_path / "alone.py").write_text(source)
    run, work, demo, tool, llm, agent, tools, check, isolated = elsewhere(
        system,
        *(("run",), ("work",), ("demo", "--resume")),
        *ONCE,
        *(("tools", "list"), ("check",), call),
        MCP_CONFIG=f"{EXAMPLES}/mcp.json",
        TOOL_MODULES="tools,alone",
        PYTHONPATH=f"{tmp_path}:{EXAMPLES}:{ROOT}",
    )
    for done, command in zip((run, work, demo), ("run", "work", "demo"), strict=True):
        assert_needs_linux(done, command)
    assert [done.status for done in (tool, llm, tools)] == [0, 0, 0], (tool.err, llm.err, tools.err)
    assert tool.json["output"] == 137.3
    assert "delivery_days" in tools.out and ("add_working_days" in tools.out) == (system == "darwin")
    if system == "win32":
        assert "MCP over stdio needs Linux or macOS: name the server by its URL" in check.out
    else:
        assert agent.json["status"] == "completed", agent.out
    assert isolated.status == 1
    assert "isolated tools run on Linux only" in isolated.out + isolated.err


def assert_needs_linux(done: Done, command: str) -> None:
    """Status 78 and one sentence that says what to do instead."""
    assert (done.status, done.out) == (78, "")
    assert done.err.startswith(f"executor-worker: `{command}` forks workers that only Linux can watch over")
    assert "docker compose up" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("system", SYSTEMS)
def test_clients_ask_a_pool_on_another_machine(
    system: str, redis_server: RedisServer, executor: Callable[..., Pool]
) -> None:
    """Work is submitted, waited for, looked at, as from anywhere else; a pool of this machine there can't be."""
    pool = executor(redis_server, LLM_PROVIDER="scripted")
    here = f"elsewhere-{os.getpid()}"  # others of this user may run on this machine
    submit, status, dead, replay, check, health, ctl = elsewhere(
        system,
        ("submit", f"{EXAMPLES}/tool_example.json", *STATE, "--wait"),
        ("status", "--all"),
        ("dead", "list"),
        ("replay", "no-graph", "no-node"),
        ("check",),
        ("health",),
        ("ctl", "status"),
        REDIS_ADDR=pool.env["REDIS_ADDR"],
        WORKER_ID=here,
    )
    assert (submit.status, submit.json["data"]["output"]) == (0, 137.3), submit.err
    assert status.status == 0 and pool.env["WORKER_ID"] in status.out
    assert dead.status == 0, dead.err
    assert replay.status == 1 and "no-graph" in replay.err
    assert "fix" not in check.out and check.status == 0, check.out
    assert (health.status, health.err) == (1, f"executor-worker: no pool of this user called '{here}' runs here.\n")
    assert ctl.status == 1 and "no pool takes commands at" in ctl.err
