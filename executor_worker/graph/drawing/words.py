"""Words for a node and for an edge in a picture."""

from __future__ import annotations

from collections.abc import Iterable

from executor_worker.graph.definition import Graph
from executor_worker.graph.parts import Edge, Node
from executor_worker.graph.past import Past


def node_notes(node: Node) -> list[str]:
    """Say what is special about a node."""
    notes = []
    if node.join != "all":
        notes.append(f"join {node.join}")
    if node.retry is not None and node.retry.max_attempts > 1:
        notes.append(f"{node.retry.max_attempts} attempts")
    if node.timeout_s is not None:
        notes.append(f"{node.timeout_s:g} s")
    if node.on_failure == "continue":
        notes.append("may fail")
    return notes


def edge_note(edge: Edge) -> str:
    """Say when an edge is taken; "" if it is after success, always."""
    when = {"success": "", "failure": "on failure", "always": "in any case"}[edge.on]
    condition = f"if {' '.join(edge.condition.split())}" if edge.condition else ""
    return " ".join(part for part in (when, condition) if part) or (edge.label or "")


def drawing_order(graph: Graph) -> list[str]:
    """Order the nodes for drawing: sources first, and what follows a node soon after it; circles come last."""
    ways = [(edge.source, edge.target) for edge in graph.edges if edge.source != edge.target]
    past = Past.of(graph.nodes, ways)
    targets: dict[str, list[str]] = {}
    missing = dict.fromkeys(graph.nodes, 0)
    for source, target in ways:
        if source in missing and target in missing:
            targets.setdefault(source, []).append(target)
            missing[target] += 1
    waiting = [node for node in reversed(graph.nodes) if not missing[node]]
    order: list[str] = []
    while waiting:
        node = waiting.pop()
        order.append(node)
        for target in reversed(targets.get(node, ())):
            missing[target] -= 1
            if not missing[target]:
                waiting.append(target)
    return [*order, *_left(graph.nodes, {node for level in past.levels for node in level})]


def _left(nodes: Iterable[str], drawn: set[str]) -> list[str]:
    return [node for node in nodes if node not in drawn]
