"""Runs that are retried, held and deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from executor_worker.broker.graphs import NothingToRetry, RunNotEnded, RunUnknown, StaleEpoch, drive, runs
from tests.kit import Pool, RedisServer, holds_for, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, calc, tool


def test_retry_keeps_what_completed_and_runs_the_rest_again(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """A new epoch of the same run: what had completed is not run again, what failed and what came after is."""
    executor(redis_server, **TOOLS)
    nodes = {
        "once": tool("noted", file=str(folder / "once")),
        "flaky": tool("fails_until", file=str(folder / "flaky"), times=1),
        "handled": {**calc("1 / 0"), "on_failure": "continue"},
        "last": {**calc("{{once}} + {{flaky}}")},
    }
    edges = [{"from": source, "to": "last"} for source in ("once", "flaky")]
    run = kernel.submit({"nodes": nodes, "edges": edges, "failure": "finish"})
    assert kernel.wait(run)["status"] == "failed"
    with pytest.raises(RunNotEnded):
        drive(kernel.link, runs.delete(kernel.submit({"nodes": {"a": tool("sleeps", seconds=60)}})))
    retried = drive(kernel.link, runs.retry(run, epoch=1))
    assert (retried.epoch, retried.kept, retried.again) == (2, 2, 2)
    with pytest.raises((StaleEpoch, RunNotEnded)):
        drive(kernel.link, runs.retry(run, epoch=1))
    result = kernel.wait(run)
    assert result["status"] == "completed" and result["output"] == {"last": 3}
    assert (folder / "once").read_text().count("\n") == 1
    kinds = [event["type"] for event in kernel.events(run) if event["type"].startswith("graph.")]
    assert kinds == ["graph.submitted", "graph.started", "graph.failed", "graph.retried", "graph.completed"]
    with pytest.raises(NothingToRetry):
        drive(kernel.link, runs.retry(run))


def test_cancelled_run_is_retried(redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel) -> None:
    """A run that was cancelled before it began goes on from its roots."""
    run = kernel.submit({"nodes": {"a": calc("1"), "b": calc("{{a}} + 1")}, "edges": [{"from": "a", "to": "b"}]})
    drive(kernel.link, runs.cancel(run))
    assert kernel.statuses(run) == {"a": "cancelled", "b": "cancelled"}
    drive(kernel.link, runs.retry(run))
    executor(redis_server)
    assert kernel.wait(run)["output"] == 2


def test_held_run_starts_nothing_until_it_is_resumed(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """What runs goes on to its end, what was queued waits."""
    executor(redis_server, workers=1, **TOOLS)
    gate = folder / "gate"
    nodes = {"a": tool("waits_for", file=str(gate)), "b": calc("1"), "c": calc("2")}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "a", "to": "c"}]})
    wait_until(lambda: kernel.statuses(run)["a"] == "running")
    assert drive(kernel.link, runs.hold(run)).held
    gate.touch()
    wait_until(lambda: kernel.statuses(run)["a"] == "completed")
    holds_for(lambda: kernel.statuses(run) == {"a": "completed", "b": "ready", "c": "ready"}, 0.5)
    drive(kernel.link, runs.resume(run))
    assert kernel.wait(run)["status"] == "completed"
    started = [event["node_id"] for event in kernel.events(run) if event["type"] == "node.started"]
    assert started == ["a", "b", "c"]


def test_deleted_run_leaves_nothing(redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel) -> None:
    """No key names it any more."""
    executor(redis_server)
    run = kernel.submit({"nodes": {"a": calc("1")}})
    kernel.wait(run)
    drive(kernel.link, runs.delete(run))
    with pytest.raises(RunUnknown):
        drive(kernel.link, runs.events(run))
    assert not redis_server.client().keys(f"*{run}*")
    assert run not in [head.graph_id for head in drive(kernel.link, runs.listing(runs.Filter())).runs]
