"""What MAX_GRAPH_*, RUN_QUEUED_MAX and TIMEOUT_GRAPH_EXECUTION mean on the command line: the same as over HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit import RedisServer
from tests.kit.commands import run_program

NODE = {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1"}}}
GRAPH = json.dumps({"nodes": dict.fromkeys("abc", NODE), "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]})


def graph(env: Mapping[str, str], *arguments: str, given: str = GRAPH) -> subprocess.CompletedProcess[str]:
    return run_program("graph", *arguments, env=env, given=given)


@pytest.fixture
def env(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    """A shell of its own."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **redis_server.env}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MAX_GRAPH_NODES", "2", "has 3 nodes, at most 2 are taken"),
        ("MAX_GRAPH_EDGES", "1", "has 2 edges, at most 1 are taken"),
        ("MAX_GRAPH_BYTES", "99", "bytes, at most 99 are taken"),
    ],
)
def test_a_graph_that_is_too_large_is_refused(env: dict[str, str], variable: str, value: str, said: str) -> None:
    for command in ("validate", "submit", "run"):
        done = graph({**env, variable: value}, command, "-")
        assert done.returncode == 1 and said in done.stdout + done.stderr, done


def test_a_run_that_is_submitted_is_as_the_settings_say(env: dict[str, str], redis_server: RedisServer) -> None:
    """Its window and its time; no more runs at once than allowed."""
    env |= {"RUN_QUEUED_MAX": "7", "TIMEOUT_GRAPH_EXECUTION": "90s", "MAX_ACTIVE_GRAPHS": "1"}
    done = graph(env, "submit", "-")
    run = json.loads(done.stdout)["graph_id"]
    head = redis_server.client().hgetall(f"dago:{{executor.work}}:run:{run}")
    assert (head[b"window"], head[b"timeout"]) == (b"7", b"90000")
    again = graph(env, "submit", "-")
    assert again.returncode == 1 and "1 runs are active already" in again.stderr, again
