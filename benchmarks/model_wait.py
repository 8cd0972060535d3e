"""Many workers that wait for a model: how many of the slots are in a call, and whether any item is run twice."""

from __future__ import annotations

from contextlib import closing

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.slow_model import SlowModel, flying, repeated
from benchmarks.stage import item, put, stage
from tests.kit import wait_until

ANSWERS_AFTER_S = 5.0
ROUNDS = 6  # calls of each worker


def measure(plan: Plan) -> list[Figure]:
    """Lay several items for each worker ready; the first calls and the last, when there is less to do, don't count."""
    workers = plan.calling
    with closing(SlowModel(ANSWERS_AFTER_S)) as model, stage(workers, **model.env) as on:
        prompts = [f"item {number}" for number in range(ROUNDS * workers)]
        configs = [{"llm_config": {"prompt": prompt, "model": "m"}} for prompt in prompts]
        put(on.db, (item(prompt, config) for prompt, config in zip(prompts, configs, strict=True)))
        on.work_off(len(prompts))
        wait_until(lambda: all(row["state"] == "idle" for row in on.pool.workers()), 60, "all workers are idle")
        calls = model.calls()
    begins = sorted(began for _, began, _ in calls)
    share = flying(calls, begins[workers] + ANSWERS_AFTER_S, begins[-workers]) / workers
    peak = max(flying(calls, at, at + 0.05) for at in begins[:: max(workers // 20, 1)]) / workers
    twice = float(repeated(calls) + abs(len(calls) - len(prompts)))
    missing, least = 100 * (1 - share), 100 * (1 - peak)
    return [
        Figure("model wait: slots not in flight, mean", missing, least, missing, "%", 1.0),
        Figure.of("model wait: items called for twice", [twice], at_most=0.0),
    ]
