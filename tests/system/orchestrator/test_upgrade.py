"""Workers are upgraded while graphs come in without a pause: replaced one by one, then by another pool."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor_worker.client import DagoClient
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.paths import ROOT
from tests.system.deploy.test_runbook import command
from tests.system.orchestrator.graphs import Graph

pytestmark = pytest.mark.cold

NODES = 3


def told(row: str) -> str:
    """The `ctl` command of a row of the runbook's table of upgrades."""
    (line,) = re.findall(rf"^\| [^|]*{row} \|.*$", (ROOT / "docs" / "OPERATIONS.md").read_text(), re.MULTILINE)
    (found,) = re.findall(r"`executor-worker (ctl \w+)`", line)
    return str(found)


class Load:
    """Submits one run after the other, for as long as something lasts; a node writes a letter each time it runs."""

    def __init__(self, dago: DagoClient, folder: Path) -> None:
        self._dago, self._folder = dago, folder
        self.runs: list[str] = []

    def until(self, over: Callable[[], object], what: str) -> None:
        """At least one run, and on until *over*."""

        def submit_and_look() -> object:
            self._submit()
            return over()

        wait_until(submit_and_look, 60, what, every=0.05)

    def _submit(self) -> None:
        names = [f"n{at}" for at in range(NODES)]
        nodes: dict[str, Any] = {}
        for before, name in zip([None, *names], names, strict=False):
            params = {"path": str(self._folder / f"{len(self.runs)}-{name}"), "times": 0}
            nodes[name] = {"type": "tool", "config": {"tool_name": "fail_times", "tool_params": params}}
            nodes[name] |= {"dependencies": [before]} if before else {}
        graph: Graph = {"nodes": nodes}
        self.runs.append(self._dago.submit_graph(graph))


def test_workers_are_upgraded_under_load(
    executor: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path
) -> None:
    """By a reload and by blue/green, as the runbook says: all runs complete, no node runs twice."""
    api = executor(redis_server, command=("serve",), wait=False)
    blue = executor(redis_server, workers=2, **WITH_TOOLS)
    with DagoClient(api.api_url) as dago:
        load = Load(dago, tmp_path)
        load.until(lambda: dago.get_status(load.runs[0])["status"] == "completed", "blue works")
        command(blue, told("settings"))
        load.until(lambda: blue.seen("pool.reloaded"), "its workers are replaced")
        green = executor(redis_server, workers=2, wait=False, **WITH_TOOLS)
        load.until(green.ready, "green is ready")
        command(blue, told(r"\(blue/green\)"))
        load.until(lambda: not blue.process.running(), "blue has left")
        assert blue.wait() == 0
        load.until(lambda: green.seen("run.ended"), "green works")
        assert {dago.wait(run, 30)["status"] for run in load.runs} == {"completed"}
        for run in load.runs[:: max(len(load.runs) // 20, 1)]:
            seqs = [event["seq"] for event in dago.events(run)]
            assert seqs == list(range(1, len(seqs) + 1))
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert len(written) == NODES * len(load.runs) and set(written) == {"x"}
    for pool in (blue, green):
        assert not pool.seen("run.mended") and not pool.seen("item.fenced")
