"""Scenario 45: programs of two ages, and a graph that is changed meanwhile: each run goes by its own plan."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Pool, RedisServer, alive, wait_until
from tests.system.graphs.conftest import TOOLS, Kernel, tool

pytestmark = pytest.mark.cold


def test_run_goes_on_by_its_own_plan_through_an_upgrade(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel, folder: Path
) -> None:
    """The old program ends what it holds, the new one goes on; the same graph, changed, is another run's."""
    gate = folder / "gate"

    def graph(answer: str) -> dict[str, Any]:
        nodes = {
            "held": tool("waits_for", file=str(gate), note=str(folder / answer)),
            "said": tool("answers", file=str(folder / "said"), answer=answer),
        }
        return {"id": "one", "version": "1.0", "nodes": nodes, "edges": [{"from": "held", "to": "said"}]}

    pool = executor(redis_server, workers=1, **TOOLS)
    old = kernel.submit(graph("old"))
    wait_until(lambda: (folder / "old").exists())
    pool.send(signal.SIGUSR2)
    heir = int(pool.wait_event("upgrade.started")["pid"])
    try:
        new = kernel.submit(graph("new"))
        wait_until(lambda: (folder / "new").exists(), 30, "the successor has taken it")
        assert kernel.statuses(old)["held"] == kernel.statuses(new)["held"] == "running"
        pool.wait_event("pool.draining")  # else it may start what follows, give that back, and it is started again
        gate.touch()
        assert kernel.wait(old)["output"] == "old" and kernel.wait(new)["output"] == "new"
        for run in (old, new):
            assert [event["type"] for event in kernel.events(run)].count("node.started") == 2
        wait_until(lambda: not pool.process.running(), 20, "the old program has ended")
    finally:
        os.kill(heir, signal.SIGTERM)
        wait_until(lambda: not alive(heir), 20, "the successor has ended")
