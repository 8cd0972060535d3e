"""Check of a document's size: it must be small enough to be looked at in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from executor_worker.graph.problems import Problems

MOST_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a graph that was read: MAX_GRAPH_NODES, MAX_GRAPH_EDGES; who reads it knows its bytes."""

    nodes: int = 10_000
    edges: int = 50_000


def fits(document: Any, limits: Limits, problems: Problems) -> bool:
    """Add what is too large; answer whether the rest is worth a look."""
    if is_deeper(document, MOST_DEPTH):
        message = f"is nested more than {MOST_DEPTH} deep"
        problems.add(None, "nested_too_deeply", message, "Flatten it, or give the data as an input.")
        return False
    given = document if isinstance(document, dict) else {}
    nodes, edges = _count(given.get("nodes")), _count(given.get("edges")) + _dependencies(given.get("nodes"))
    _at_most(limits.nodes, nodes, "nodes", "Split it into several graphs.", problems)
    _at_most(limits.edges, edges, "edges", "Put a node between groups that all lead to one another.", problems)
    return not len(problems)


def _at_most(limit: int, count: int, what: str, fix: str, problems: Problems) -> None:
    if count > limit:
        problems.add((None, what), f"too_many_{what}", f"has {count:,} {what}, at most {limit:,} are taken", fix)


def _count(value: Any) -> int:
    return len(value) if isinstance(value, (dict, list)) else 0


def _dependencies(nodes: Any) -> int:
    each = nodes.values() if isinstance(nodes, Mapping) else nodes if isinstance(nodes, list) else ()
    return sum(_count(node.get("dependencies")) for node in each if isinstance(node, dict))


def is_deeper(value: Any, most: int) -> bool:
    """Go down level by level, at most so many: no recursion, whatever comes."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(most):
        inside = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [one for one in inside if isinstance(one, (dict, list))]
        if not level:
            return False
    return True
