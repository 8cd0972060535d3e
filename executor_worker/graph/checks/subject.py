"""The subject that all checks of one graph share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from executor_worker.graph.definition import Graph, LocatedGraph
from executor_worker.graph.past import Past
from executor_worker.graph.problems import Problems
from executor_worker.graph.reading import LocatedEdge, LocatedNode

ConfigRules: TypeAlias = Callable[[dict[str, Any]], object]
Retired: TypeAlias = Callable[[str], "str | None"]


@dataclass(slots=True)
class Subject:
    """
    A graph under check.

    Attributes:
        incoming, outgoing: Edges between nodes that exist, by node; without self-loops.
        inputs: None if they are not known yet.
    """

    located: LocatedGraph
    past: Past
    errors: Problems
    warnings: Problems
    inputs: Mapping[str, Any] | None
    incoming: dict[str, list[LocatedEdge]] = field(default_factory=dict)
    outgoing: dict[str, list[LocatedEdge]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, located: LocatedGraph, errors: Problems, warnings: Problems, inputs: Mapping[str, Any] | None
    ) -> Subject:
        """Sort the edges by node."""
        ways = [(one.edge.source, one.edge.target) for one in located.edges if one.edge.source != one.edge.target]
        subject = cls(located, Past.of(located.nodes, ways), errors, warnings, inputs)
        for one in located.edges:
            source, target = one.edge.source, one.edge.target
            if source != target and source in located.nodes and target in located.nodes:
                subject.incoming.setdefault(target, []).append(one)
                subject.outgoing.setdefault(source, []).append(one)
        return subject

    @property
    def graph(self) -> Graph:
        """Answer the graph as it was read."""
        return self.located.graph

    @property
    def nodes(self) -> dict[str, LocatedNode]:
        """Answer the nodes with their locations."""
        return self.located.nodes
