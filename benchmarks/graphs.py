"""Cost of runs of graphs: from the end of a node to the start of the next, wide graphs, CPU against plain items."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from benchmarks.figures import Figure, percentile
from benchmarks.plan import Plan
from benchmarks.stage import ITEM_BYTES, Stage, cpu_s, item, put, stage, state
from executor_worker.broker import Endpoint, Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.graph.definition import Graph
from tests.kit import wait_until

WORKERS = 4
CHAIN = 100
SLOW_US = 5_000
SMALL = 10  # nodes of the small graphs whose cost is compared

Document = dict[str, Any]


def measure(plan: Plan) -> list[Figure]:
    with stage(WORKERS, NODE_TIMEOUT="600") as on:
        link = Link(Endpoint.parse(on.server.unix_url), name="bench")
        try:
            return _measured(on, link, plan)
        finally:
            link.close()


def _measured(on: Stage, link: Link, plan: Plan) -> list[Figure]:
    on.db.config_set("slowlog-log-slower-than", SLOW_US)
    on.db.slowlog_reset()
    _run(link, chain(CHAIN))  # warm
    gaps: list[float] = []
    firsts: list[float] = []
    for _ in range(plan.rounds * 3):
        first, times = _clocked(link, chain(CHAIN))
        firsts.append(first)
        gaps += [(later - sooner) / 1e6 for sooner, later in pairwise(times)]
    wide, wider = [], []
    for _ in range(plan.rounds):
        wide.append(_run(link, fan(1_000)))
        wider.append(_run(link, fan(10_000)))
    slow = [entry for entry in on.db.slowlog_get(128) if b"INFO" not in entry["command"]]
    (small, small_documents), (large, large_documents) = (_cost(on, link, plan, nodes) for nodes in (SMALL, 1_000))
    ratios = [later / sooner for sooner, later in zip(wide, wider, strict=True)]
    return [
        Figure.of("graphs: CPU of a node of 10, of a plain item's", small, at_most=1.15, scale="ratio"),
        Figure.of("graphs: CPU of a node of 1000, of a plain item's", large, at_most=1.15, scale="ratio"),
        Figure.of("graphs: CPU of a node of 10, of an item's of 10", small_documents, at_most=1.15, scale="ratio"),
        Figure.of("graphs: CPU of a node of 1000, of an item's of 1000", large_documents, at_most=1.15, scale="ratio"),
        Figure.of("graphs: 10 000 nodes, of 1000", ratios, at_most=11.0, scale="ratio"),
        Figure.of("graphs: end to start in a chain, p50", [percentile(gaps, 0.5)], "ms", at_most=0.6),
        Figure.of("graphs: end to start in a chain, p99", [percentile(gaps, 0.99)], "ms", at_most=5.0),
        Figure.of("graphs: submit to first node, p50", firsts, "ms", at_most=5.0),
        Figure.of("graphs: 1000 nodes and their join", wide, "s", at_most=0.4),
        Figure.of("graphs: 10 000 nodes and their join", wider, "s"),
        Figure.of("graphs: calls that held Redis over 5 ms", [float(len(slow))], at_most=0.0),
    ]


def chain(count: int) -> Document:
    """Nodes one after the other; each tells when it was called."""
    nodes = {f"n{at}": {"type": "tool", "config": {"tool_name": "clock"}} for at in range(count)}
    return {"nodes": nodes, "edges": [{"from": f"n{at}", "to": f"n{at + 1}"} for at in range(count - 1)]}


def fan(count: int, text: str = "") -> Document:
    """Nodes side by side, and one behind them all."""
    config = {"tool_name": "noop", "tool_params": {"text": text}}
    nodes = {f"n{at}": {"type": "tool", "config": config} for at in range(count)}
    edges = [{"from": node, "to": "join"} for node in nodes]
    return {"nodes": {**nodes, "join": {"type": "tool", "config": config}}, "edges": edges}


def _submitted(link: Link, document: Document) -> str:
    run = runs.Submission(Graph.read(document), {}, runs.new_graph_id(), state_ttl_s=60)
    return drive(link, runs.submit(run)).graph_id


def _ended(link: Link, graph_id: str) -> runs.Head:
    head = wait_until(
        lambda: found if (found := drive(link, runs.require(graph_id))).ended else None, 600, graph_id, every=0.002
    )
    assert head is not None
    assert head.status == "completed", head
    return head


def _run(link: Link, document: Document) -> float:
    """Run a graph; answer the seconds from its submission to its end, by Redis' clock."""
    head = _ended(link, _submitted(link, document))
    assert head.completed_at_ms is not None
    return (head.completed_at_ms - head.submitted_at_ms) / 1000


def _clocked(link: Link, document: Document) -> tuple[float, list[int]]:
    """Run a chain; answer the ms to its first node, and when each node was called (ns)."""
    began = time.monotonic_ns()
    graph_id = _submitted(link, document)
    _ended(link, graph_id)
    result = json.loads(drive(link, runs.result(graph_id)))
    times = [result["result"][node]["output"] for node in document["nodes"]]
    return (times[0] - began) / 1e6, times


def _cost(on: Stage, link: Link, plan: Plan, nodes: int) -> tuple[list[float], list[float]]:
    """
    CPU of the workers and of Redis for a node of runs.

    Returns:
        Its ratio to a plain item with the same parameters that is alone in its graph; and to one of as many items of a
        graph, which share its state document, as other orchestrators queue what is ready.
    """
    document = fan(nodes - 1, "x" * (ITEM_BYTES - 200))
    of_alone, of_shared = [], []
    for number in range(plan.rounds):
        count = max(plan.items // 4 // nodes, 1) * nodes
        graphs = [f"plain{nodes}-{number}-{at}" for at in range(count)]
        alone = _cost_of_items(on, graphs, ["n"])
        shared = _cost_of_items(on, graphs[: count // nodes], [f"n{at}" for at in range(nodes)])
        run = _spent(on, partial(_submit_all, link, document, count // nodes), count)
        of_alone.append(run / alone)
        of_shared.append(run / shared)
    return of_alone, of_shared


def _cost_of_items(on: Stage, graphs: list[str], nodes: list[str]) -> float:
    items = [item(graph, node=node, size=ITEM_BYTES) for graph in graphs for node in nodes]
    spent = _spent(on, partial(put, on.db, items, {graph: state(graph) for graph in graphs}), len(items))
    on.db.delete(*(f"dago:state:{graph}" for graph in graphs))
    return spent


def _submit_all(link: Link, document: Document, count: int) -> None:
    for _ in range(count):
        _submitted(link, document)


def _spent(on: Stage, lay_ready: Callable[[], None], count: int) -> float:
    """CPU seconds that *count* items cost workers and Redis, once they are laid ready."""
    on.forget_results()
    pids = [*on.workers(), on.server.process.pid]
    with on.paused():
        lay_ready()
        before = cpu_s(pids)
    on.work_off(count)
    return cpu_s(pids) - before
