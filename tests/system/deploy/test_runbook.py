"""The runbook for runs of graphs, carried out as it is written: what one sees, what one does, when it is over."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor_worker.client import DagoClient, DagoError
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.commands import run_program
from tests.kit.paths import ROOT
from tests.system.orchestrator.graphs import chain, waiting

Start = Callable[..., Pool]


def section(title: str) -> str:
    """A part of the runbook, by its title."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def command(pool: Pool, line: str) -> str:
    """Do what the text says in the pool's own environment; return what it prints."""
    done = run_program(*line.split(), env=pool.env, cwd=pool.folder)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def pause(pool: Pool) -> None:
    """As `ctl pause` does."""
    pool.process.send(signal.SIGTSTP)
    pool.wait_event("pool.paused")


def tool(**more: Any) -> dict[str, Any]:
    return {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1"}, **more}}


def test_a_run_that_waits_says_why(executor: Start, redis_server: RedisServer) -> None:
    """Each reason that is seen stands in the table; after what it says there the run goes on."""
    text = section("A run waits and nobody knows why")
    listed = re.findall(r"^\| `([^`]+?)(?: …)?`", text, re.MULTILINE)
    pool = executor(redis_server, command=("run", "--api"), workers=1, LIMITS="one=1", **WITH_TOOLS)
    gate = pool.folder / "go"
    with DagoClient(pool.api_url) as dago:

        def why(graph_id: str) -> dict[str, str]:
            nodes = dago.get_graph(graph_id)["nodes"]
            return {node["id"]: ", ".join(node["waiting_for"]) for node in nodes}

        blocked = waiting(str(gate))["nodes"]["wait"]
        limited = dago.submit_graph({"nodes": {"a": {**blocked, "config": {**blocked["config"], "limit": "one"}}}})
        wait_until(lambda: dago.get_status(limited)["status"] == "running", 20, "a worker has it")
        wide = dago.submit_graph({"nodes": {"a": tool(), "b": tool()}, "max_parallel": 1})
        held = dago.submit_graph({"nodes": {"a": tool()}})
        dago.hold(held)
        failing = {**tool(), "retry": {"max_attempts": 2, "delay": 600}}
        failing["config"] = {"tool_name": "complain", "tool_params": {"message": "no"}}
        again = dago.submit_graph({"nodes": {"a": failing, "b": {**tool(), "dependencies": ["a"]}}})
        assert why(wide) == {"a": "a worker", "b": "a place among the run's nodes"}
        assert why(held) == {"a": "the run is held"}
        assert command(pool, f"graph show {held}").split("\n")[2].endswith("the run is held")
        gate.touch()
        dago.wait(wide, 20)
        wait_until(lambda: why(again) == {"a": "its next attempt", "b": "a"}, 20, lambda: str(why(again)))
        seen = {"a worker", "a place among the run's nodes", "the run is held", "its next attempt"}
        assert seen <= set(listed)
        command(pool, f"graph resume {held}")
        dago.cancel(again)
        pause(pool)
        paused = dago.submit_graph({"nodes": {"a": tool()}})
        # A worker that waited for work may have been given it just before, and gives it back.
        wait_until(lambda: why(paused) == {"a": "a worker"}, 10, lambda: str(why(paused)))
        command(pool, "ctl resume")
        assert [dago.wait(one, 20)["status"] for one in (held, paused, again)] == [
            "completed",
            "completed",
            "cancelled",
        ]


def test_redis_restored_from_an_older_copy(
    executor: Start, start_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """What was there goes on, its log without a gap; what came since is unknown, and its key submits it anew."""
    assert "submits them anew" in section("Redis has lost its data")
    server, gate = start_server("redis", aof=True), tmp_path / "go"
    pool = executor(server, command=("run", "--api"), workers=1, LEASE="2s", **WITH_TOOLS)
    graph = chain(4)
    graph["nodes"]["n1"] = waiting(str(gate))["nodes"]["wait"]
    with DagoClient(pool.api_url) as dago:
        older = dago.submit_graph(graph)
        wait_until(lambda: any(event["type"] == "node.started" for event in events(dago, older)), 20, "it goes on")
        server.client().wait(0, 0)
        shutil.copytree(server.folder / "appendonlydir", tmp_path / "copy")
        newer = dago.submit_graph(chain(1), idempotency_key="since the copy")
        gate.touch()
        assert dago.wait(older, 20)["status"] == dago.wait(newer, 20)["status"] == "completed"
        pause(pool)
        server.kill()
        shutil.rmtree(server.folder / "appendonlydir")
        shutil.copytree(tmp_path / "copy", server.folder / "appendonlydir")
        server.start()
        pool.wait_event("redis.back", 30)
        pool.process.send(signal.SIGCONT)
        assert dago.wait(older, 60)["status"] == "completed"
        seqs = [event["seq"] for event in dago.events(older)]
        assert seqs == list(range(1, len(seqs) + 1))
        with pytest.raises(DagoError, match="not found"):
            dago.get_status(newer)
        anew = dago.submit_graph(chain(1), idempotency_key="since the copy")
        assert anew != newer and dago.wait(anew, 20)["status"] == "completed"


def events(dago: DagoClient, graph_id: str) -> list[dict[str, Any]]:
    """Those that there are now."""
    found: list[dict[str, Any]] = []
    for event in dago.events(graph_id):
        found.append(event)
        if event["type"] == "node.started":
            break
    return found
