"""Memory of a worker: the proportional set size of supervisor, keeper and workers, divided by the workers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.slow_model import SlowModel
from benchmarks.stage import ITEM_BYTES, NO_OP, Stage, item, pss_mib, put, stage, state
from tests.kit import EverythingServer, wait_until

ITEMS_EACH = 50
AT_ONCE_S = 1.0  # so long a call lasts that every worker has to take one
MODEL = {"llm_config": {"prompt": "{{text}}"}}
MCP_SLOW = {"tool_name": "trigger-long-running-operation", "tool_params": {"duration": AT_ONCE_S, "steps": 1}}


def measure(plan: Plan) -> list[Figure]:
    """Two pools, ever more used, one with an MCP server; after each step they are weighed when they are idle again."""
    weights: dict[str, float] = {}
    with closing(SlowModel(AT_ONCE_S)) as model:
        with stage(plan.workers, **model.env) as on:
            weights["idle"] = _weight(on)
            _fifty_each(on)
            weights["after 50 items each"] = _weight(on)
            _one_each(on, MODEL)
            weights["after a model call each too"] = _weight(on)
        with (
            tempfile.TemporaryDirectory(prefix="ex-") as folder,
            closing(EverythingServer(Path(folder))) as mcp,
            stage(plan.workers, MCP_SERVERS=f"every={mcp.url}", **model.env) as on,
        ):
            _fifty_each(on)
            _one_each(on, MCP_SLOW)
            weights["after 50 items and an MCP call each"] = _weight(on)
    wanted = {"idle": 14.0, "after 50 items each": 16.0, "after 50 items and an MCP call each": 26.0}
    return [
        Figure.of(f"memory: {name}", [mib], "MiB a worker", at_most=wanted.get(name)) for name, mib in weights.items()
    ]


def _fifty_each(on: Stage) -> None:
    while min(row["items_done"] for row in on.pool.workers()) < ITEMS_EACH:
        _run(on, NO_OP, ITEMS_EACH * len(on.workers()))


def _weight(on: Stage) -> float:
    wait_until(lambda: all(row["state"] == "idle" for row in on.pool.workers()), 60, "all workers are idle")
    return pss_mib(on.tree()) / len(on.workers())


def _run(on: Stage, config: Mapping[str, Any], count: int) -> None:
    graphs = [f"{on.settled()}-{number}" for number in range(count)]
    before = on.settled()
    with on.paused():
        put(
            on.db, (item(graph, config, size=ITEM_BYTES) for graph in graphs), {graph: state(graph) for graph in graphs}
        )
    on.work_off(before + count)


def _one_each(on: Stage, config: Mapping[str, Any]) -> None:
    """Have every worker run at least one item of *config*."""
    before = {row["slot"]: row["items_done"] for row in on.pool.workers()}
    for _ in range(5):
        _run(on, config, len(before))
        if all(row["items_done"] > before[row["slot"]] for row in on.pool.workers()):
            return
    raise AssertionError("some worker has never had one of the items")
