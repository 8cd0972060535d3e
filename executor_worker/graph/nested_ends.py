"""Ends that lead to other ends: which of their outputs are stored, though no node names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

from executor_worker.graph.definition import Graph

MOST_WITHIN = 32
"""Outputs within that of an end that is stored for another one."""


def nested_ends(graph: Graph, incoming: Mapping[str, Sequence[tuple[str, int]]]) -> set[str]:
    """
    Find the ends that lead, beside other nodes, to an end, whose output has theirs within it.

    Of no more than `MOST_WITHIN` outputs: ends behind two ends have twice as many at each step. Larger ones are null
    within others where those are written down without a look at the whole run.

    Args:
        graph: One without circles.
        incoming: The sources of each node's edges, and which of their edges it is.
    """
    sources = {name: dict(incoming[name]) for name, node in graph.nodes.items() if node.type == "end"}
    inner = {name: [source for source in found if source in sources] for name, found in sources.items()}
    if not any(inner.values()):
        return set()
    counts: dict[str, int] = {}
    for name in TopologicalSorter(inner).static_order():
        counts[name] = min(max(sum(counts.get(source, 1) for source in sources[name]), 1), MOST_WITHIN + 1)
    several = [found for name, found in inner.items() if len(sources[name]) > 1]
    return {source for found in several for source in found if counts[source] <= MOST_WITHIN}
