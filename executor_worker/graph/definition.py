"""
A whole graph as everything after reading it sees it.

Whatever spelling a document used (docs/GRAPHS.md), this is what it becomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from executor_worker.graph import durations, fields, reading
from executor_worker.graph.parts import Cache, Edge, Join, Node, On, OnFailure, Retry
from executor_worker.graph.problems import InvalidGraph, Problems
from executor_worker.graph.reading import LocatedEdge, LocatedNode

__all__ = [
    "Cache",
    "Edge",
    "Failure",
    "Graph",
    "InvalidGraph",
    "Join",
    "LocatedGraph",
    "Node",
    "On",
    "OnFailure",
    "Retry",
]

Failure = Literal["fail_fast", "finish"]


@dataclass(frozen=True, slots=True)
class Graph:
    """
    Attributes:
        nodes: In the document's order.
        edges: The document's, then those of `dependencies`, then those of routers' targets.
        timeout_s: None: the setting's; 0: none.
        output: A template, an object of templates, or None for the outputs of the last nodes.
        document: The document as it came.
    """

    nodes: dict[str, Node]
    edges: tuple[Edge, ...] = ()
    id: str | None = None
    name: str | None = None
    version: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    entry_node: str | None = None
    timeout_s: float | None = None
    max_parallel: int | None = None
    failure: Failure = "fail_fast"
    output: str | dict[str, Any] | None = None
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, document: Any) -> Graph:
        """
        Read a graph in any of its spellings.

        Only its shape is looked at, not whether it can run: that is `validation.check`.

        Raises:
            InvalidGraph: With all that is wrong with its shape.
        """
        problems = Problems()
        located = LocatedGraph.read(document, problems)
        if len(problems):
            raise InvalidGraph(problems)
        return located.graph

    def roots(self) -> tuple[str, ...]:
        """Answer the nodes without incoming edges."""
        reached = {edge.target for edge in self.edges}
        return tuple(node for node in self.nodes if node not in reached)

    def leaves(self) -> tuple[str, ...]:
        """Answer the nodes without outgoing edges: what a graph without `output` answers with."""
        left = {edge.source for edge in self.edges}
        return tuple(node for node in self.nodes if node not in left)


@dataclass(frozen=True, slots=True)
class LocatedGraph:
    """A graph with the location of each node and edge in its document: what messages need."""

    graph: Graph
    nodes: dict[str, LocatedNode]
    edges: list[LocatedEdge]

    @classmethod
    def read(cls, document: Any, problems: Problems) -> LocatedGraph:
        """Read as much of *document* as can be read, and add what is wrong with its shape."""
        fields.GRAPH.check(document, None, problems)
        given: Mapping[str, Any] = document if isinstance(document, dict) else {}
        nodes = reading.nodes_of(given, problems)
        edges = reading.edges_of(given, nodes)
        return cls(_graph(given, nodes, edges), nodes, edges)


def _graph(given: Mapping[str, Any], nodes: Mapping[str, LocatedNode], edges: list[LocatedEdge]) -> Graph:
    metadata, output = given.get("metadata"), given.get("output")
    return Graph(
        nodes={name: located.node for name, located in nodes.items()},
        edges=tuple(located.edge for located in edges),
        id=reading.text(given, "id"),
        name=reading.text(given, "name"),
        version=reading.text(given, "version"),
        description=reading.text(given, "description"),
        metadata=metadata if isinstance(metadata, dict) else {},
        entry_node=reading.text(given, "entry_node") or reading.text(given, "entry_point") or None,
        timeout_s=durations.seconds(given.get("timeout")),
        max_parallel=reading.whole(given.get("max_parallel")),
        failure="finish" if given.get("failure") == "finish" else "fail_fast",
        output=output if isinstance(output, (str, dict)) else None,
        document=dict(given),
    )
