"""`graph` on a terminal and in a pipe: an empty list, and what is said of each verb."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit import RedisServer
from tests.system.cli.conftest import Run

GRAPH = {"nodes": {"a": {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1"}}}}}
SUBMIT = "there are no runs; `executor-worker graph submit FILE` submits one."
FILTERED = "there are no such runs; without filters `graph list` shows all there are."


def words(text: str) -> str:
    """What a terminal shows, without colours and line ends."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def test_an_empty_list_says_so(run: Run, redis_server: RedisServer, terminal: Callable[..., Any]) -> None:
    """On a terminal instead of a table; programs get a head without lines, or no JSON."""
    done = run("graph", "list", **redis_server.env)
    assert (done.status, done.err.strip()) == (0, f"executor-worker: {SUBMIT}")
    assert done.out.split() == ["RUN", "STATUS", "NAME", "SUBMITTED", "NODES", "COMPLETED", "FAILED"]
    done = run("graph", "list", "--status", "failed", **redis_server.env)
    assert done.err.strip() == f"executor-worker: {FILTERED}"
    done = run("graph", "list", "--json", **redis_server.env)
    assert (done.status, done.out, done.err) == (0, "", "")
    said = {"graph": SUBMIT, "dead": "there are no dead letters", "failed": "no node that is kept has failed"}
    for command, text in {**said, "throttle": "nothing is held back"}.items():
        shown = terminal(command, "list", **redis_server.env)
        assert shown.wait() == 0
        assert words(shown.shown).removeprefix("executor-worker: ") == text


def test_verbs_on_a_terminal(run: Run, redis_server: RedisServer, terminal: Callable[..., Any], folder: Path) -> None:
    """Each says in a sentence what has become of the run, or why it can't be done."""
    (folder / "g.json").write_text(json.dumps(GRAPH))
    graph_id = run("graph", "submit", "g.json", **redis_server.env).json["graph_id"]

    def told(*given: str, status: int = 0) -> str:
        shown = terminal("graph", *given, **redis_server.env)
        assert shown.wait() == status, shown.shown
        return words(shown.shown)

    assert told("hold", graph_id) == f"{graph_id} is held"
    assert "held" in told("show", graph_id)
    assert told("resume", graph_id) == f"{graph_id} is going on"
    assert told("retry", graph_id, status=1).startswith("executor-worker: ")
    assert told("cancel", "--status", "running", "--dry-run") == f"{graph_id} would be cancelled"
    assert told("cancel", graph_id) == f"{graph_id} is cancelled"
    assert "cancelled" in told("cancel", graph_id, status=1)
    assert told("retry", graph_id) == f"{graph_id} is retried"
    assert told("cancel", graph_id, "nobody", status=1).startswith(f"{graph_id} is cancelled executor-worker: ")
    assert told("retry", "--status", "completed") == "executor-worker: there are no such runs."
