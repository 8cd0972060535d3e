"""CPU of the workers for 1000 no-op tool items, against the bare loop in the same run."""

from __future__ import annotations

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.stage import ITEM_BYTES, Stage, cpu_s, item, put, stage, state
from benchmarks.yardstick import PROCESSES, cpu_per_1000

WARM_UP = 400  # items


def measure(plan: Plan) -> list[Figure]:
    """Let both work off the same number of items, in turns."""
    with stage(PROCESSES) as on:
        run(on, WARM_UP, "warm")
        bare, ours, rates = [], [], []
        for number in range(plan.rounds):
            bare.append(cpu_per_1000(on.server, plan.items))
            cost, rate = run(on, plan.items, f"{number}-")
            ours.append(cost)
            rates.append(rate)
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    return [
        Figure.of("cpu: of the bare loop's", ratios, at_most=0.6, scale="ratio"),
        Figure.of("cpu: workers, for 1000 items", ours, "s", scale="speed"),
        Figure.of("cpu: bare loop, for 1000 items", bare, "s", scale="speed"),
        Figure.of("cpu: items a second, 4 workers", rates),
    ]


def run(on: Stage, count: int, prefix: str) -> tuple[float, float]:
    """Work off *count* items laid ready; CPU seconds of the workers for 1000, items a second."""
    graphs = [f"{prefix}{number}" for number in range(count)]
    on.forget_results()
    with on.paused():
        put(on.db, (item(graph, size=ITEM_BYTES) for graph in graphs), {graph: state(graph) for graph in graphs})
        pids = on.workers()
        before = cpu_s(pids)
    took = on.work_off(count)
    spent = cpu_s(pids) - before
    on.db.delete(*(f"dago:state:{graph}" for graph in graphs))
    return 1000 * spent / count, count / took
