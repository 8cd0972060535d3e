"""Memory of a worker: the proportional set size of supervisor, keeper and workers, divided by the workers."""

from __future__ import annotations

import tempfile
import time
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
BATCH = 8000  # items laid ready at a time: Redis is to stay small
AT_ONCE_S = 1.0  # so long a call lasts that every worker has to take one
MANY = "after many items each"
MODEL = {"llm_config": {"prompt": "{{text}}"}}
MCP_SLOW = {"tool_name": "trigger-long-running-operation", "tool_params": {"duration": AT_ONCE_S, "steps": 1}}


def measure(plan: Plan) -> list[Figure]:
    """Three pools, ever more used, one with an MCP server; weighed after each step, when they are idle again."""
    weights: dict[str, float] = {}
    with closing(SlowModel(AT_ONCE_S)) as model:
        with stage(plan.workers, **model.env) as on:
            weights["idle"] = _weight(on)
            _items_each(on, ITEMS_EACH)
            weights["after 50 items each"] = _weight(on)
            _one_each(on, MODEL)
            weights["after a model call each too"] = _weight(on)
        with stage(plan.workers, **model.env) as on:
            _items_each(on, plan.items_each)
            weights[MANY] = _weight(on)
        with (
            tempfile.TemporaryDirectory(prefix="ex-") as folder,
            closing(EverythingServer(Path(folder))) as mcp,
            stage(plan.workers, MCP_SERVERS=f"every={mcp.url}", **model.env) as on,
        ):
            _items_each(on, ITEMS_EACH)
            _one_each(on, MCP_SLOW)
            weights["after 50 items and an MCP call each"] = _weight(on)
    wanted = {"idle": 14.0, "after 50 items each": 11.5, MANY: 12.0, "after 50 items and an MCP call each": 26.0}
    return [
        Figure.of(f"memory: {name}", [mib], "MiB a worker", at_most=wanted.get(name)) for name, mib in weights.items()
    ]


def _items_each(on: Stage, count: int) -> None:
    """Have every worker run *count* items; of many that is the average."""
    average = count > ITEMS_EACH
    while (missing := count - _done(on, average=average)) > 0:
        _run(on, NO_OP, min(max(round(missing), ITEMS_EACH) * len(on.workers()), BATCH))


def _done(on: Stage, *, average: bool) -> float:
    done = [int(row["items_done"]) for row in on.pool.workers()]
    return sum(done) / len(done) if average else float(min(done))


def _weight(on: Stage) -> float:
    wait_until(lambda: all(row["state"] == "idle" for row in on.pool.workers()), 60, "all workers are idle")
    return pss_mib(on.tree()) / len(on.workers())


def _run(on: Stage, config: Mapping[str, Any], count: int) -> None:
    graphs = [f"{time.monotonic_ns()}-{number}" for number in range(count)]
    on.forget_results()
    with on.paused():
        put(
            on.db, (item(graph, config, size=ITEM_BYTES) for graph in graphs), {graph: state(graph) for graph in graphs}
        )
    on.work_off(count)
    on.db.delete(*(f"dago:state:{graph}" for graph in graphs))


def _one_each(on: Stage, config: Mapping[str, Any]) -> None:
    """Have every worker run at least one item of *config*."""
    before = {row["slot"]: row["items_done"] for row in on.pool.workers()}
    for _ in range(5):
        _run(on, config, len(before))
        if all(row["items_done"] > before[row["slot"]] for row in on.pool.workers()):
            return
    raise AssertionError("some worker has never had one of the items")
