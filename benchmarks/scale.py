"""Cost of an item with more workers, more that waits, more that is pending, larger states; and a large idle pool."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.cpu import WARM_UP, run
from benchmarks.figures import Figure
from benchmarks.idle import SETTLE_S, run_context
from benchmarks.plan import Plan
from benchmarks.stage import ITEM_BYTES, NO_OP, WORK, Stage, cpu_s, item, pss_mib, put, stage, state
from tests.kit import wait_until

LARGE_STATE = 10 * 2**20
LARGE_ITEMS = 20
NODES = 1000
GROUP = "executor-workers"
ITEMS_SHARE = 4  # a throughput run here has so many times fewer items than the row of its own


def measure(plan: Plan) -> list[Figure]:
    return [*pool_sizes(plan), *backlogs(plan), *pending(plan), *states(plan)]


def pool_sizes(plan: Plan) -> Iterator[Figure]:
    """CPU of an item by pool size, beside the smallest; the largest is also weighed and watched while idle."""
    count, costs = plan.items // ITEMS_SHARE, []
    for workers in plan.pools:
        with stage(workers) as on:
            if workers == max(plan.pools):
                yield from _large_idle(on, workers, plan.quiet_s)
            run(on, WARM_UP, "warm")
            costs.append(run(on, count, "g")[0])
            yield _ratio(f"scale: {workers} workers, CPU of an item", costs[-1] / costs[0])


def _large_idle(on: Stage, workers: int, seconds: float) -> Iterator[Figure]:
    wait_until(lambda: all(row["state"] == "idle" for row in on.pool.workers()), 60, "all workers are idle")
    time.sleep(SETTLE_S)
    share = 100 * run_context(on, seconds, on.keepers())[2] / seconds
    gib = pss_mib(on.tree()) / 1024
    yield Figure.of(f"scale: {workers} idle, supervisor + keeper", [share], "% of a core", at_most=2.0, scale="speed")
    yield Figure.of(f"scale: {workers} workers, memory of all", [gib], "GiB", at_most=3.0)


def backlogs(plan: Plan) -> Iterator[Figure]:
    """CPU of the workers and of Redis for an item while so many others wait behind it."""
    costs = []
    for waiting in plan.backlogs:
        with stage(4, STATE_TTL="600s") as on:
            run(on, WARM_UP, "warm")
            costs.append(_with_backlog(on, plan.items // ITEMS_SHARE, waiting))
        yield _ratio(f"scale: {waiting:,} waiting, CPU of an item", costs[-1][0] / costs[0][0])
        yield _ratio(f"scale: {waiting:,} waiting, Redis' CPU of an item", costs[-1][1] / costs[0][1])


def _with_backlog(on: Stage, count: int, waiting: int) -> tuple[float, float]:
    """Work off *count* of *count* + *waiting* items; CPU seconds of the workers, and of Redis, for one."""
    graphs = [f"g{number}" for number in range(count)]
    on.forget_results()
    with on.paused():
        put(on.db, (item(graph, size=ITEM_BYTES) for graph in graphs), {graph: state(graph) for graph in graphs})
        put(on.db, (item(f"w{number}", size=ITEM_BYTES) for number in range(waiting)))
        workers, server = on.workers(), [on.server.process.pid]
        before = cpu_s(workers), cpu_s(server)
    wait_until(lambda: on.settled() >= count, 600, "the items are settled", every=0.005)
    spent = cpu_s(workers) - before[0], cpu_s(server) - before[1]
    done = on.settled()  # some of those behind may have been run by now
    return spent[0] / done, spent[1] / done


def pending(plan: Plan) -> Iterator[Figure]:
    """CPU of an item, and of the keeper, while somebody else has many in hand."""
    count = plan.items // ITEMS_SHARE
    with stage(4, LEASE="600s") as on:
        run(on, WARM_UP, "warm")
        alone, _ = run(on, count, "a")
        with on.paused():
            put(on.db, (item(f"p{number}", size=ITEM_BYTES) for number in range(plan.pending)))
            on.db.xreadgroup(GROUP, "other.1", {WORK: ">"}, count=plan.pending)
        crowded, _ = run(on, count, "b")
        share = 100 * run_context(on, plan.quiet_s, on.keepers())[2] / plan.quiet_s
    yield _ratio(f"scale: {plan.pending:,} pending, CPU of an item", crowded / alone)
    yield Figure.of(f"scale: {plan.pending:,} pending, supervisor + keeper", [share], "% of a core", scale="speed")


def states(plan: Plan) -> Iterator[Figure]:
    """An item with a large state, beside a bare GET and SET of the same; many nodes of one graph at once."""
    with stage(4) as on:
        run(on, WARM_UP, "warm")
        yield _large_states(on)
        yield _one_graph(on)


def _large_states(on: Stage) -> Figure:
    document = state("large", LARGE_STATE)
    began = time.monotonic()
    for _ in range(LARGE_ITEMS):
        on.db.set("bare", document)
        on.db.get("bare")
    bare = time.monotonic() - began
    on.forget_results()
    with on.paused():
        put(on.db, (item(f"l{n}") for n in range(LARGE_ITEMS)), {f"l{n}": document for n in range(LARGE_ITEMS)})
    took = on.work_off(LARGE_ITEMS)
    on.db.delete("bare", *(f"dago:state:l{number}" for number in range(LARGE_ITEMS)))
    return _ratio("scale: state of 10 MiB, time of a bare GET and SET", took / bare)


def _one_graph(on: Stage) -> Figure:
    """Seconds for all nodes of one graph, on four workers."""
    on.forget_results()
    with on.paused():
        put(on.db, (item("one", NO_OP, node=f"n{number}") for number in range(NODES)), {"one": state("one")})
    took = on.work_off(NODES)
    return Figure.of(f"scale: {NODES} nodes of one graph", [took], "s", scale="speed")


def _ratio(name: str, value: float) -> Figure:
    return Figure.of(name, [value], scale="ratio")
