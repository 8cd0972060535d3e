"""Nodes, edges and what can be reached: everything that needs no look into a node's config."""

from __future__ import annotations

from collections.abc import Iterable

from executor_worker.graph.checks.subject import Subject
from executor_worker.graph.parts import Edge
from executor_worker.graph.past import reachable
from executor_worker.graph.problems import Location, cut, named
from executor_worker.graph.reading import LocatedEdge

_NEVER_FAIL = ("start", "end")
_PATH_SHOWN = 12


def check_nodes(subject: Subject) -> None:
    """Check that there are nodes at all."""
    given = subject.graph.document.get("nodes")
    if not subject.nodes and given is not None and not given and isinstance(given, (dict, list)):
        subject.errors.add((None, "nodes"), "no_nodes", "a graph needs at least one node", "Add a node.")


def check_edges(subject: Subject) -> None:
    """Check that edges lead from one node to another."""
    for one in subject.located.edges:
        edge, written = one.edge, not one.edge.implied
        if edge.source == edge.target:
            message = f"{named(edge.source)} leads to itself"
            fix = "Remove it: a graph has no loops; repeat a node by its retry."
            subject.errors.add(one.location, "self_loop", message, fix)
        for end, names in ((edge.source, ("from", "source")), (edge.target, ("to", "target"))):
            if end not in subject.nodes:
                location = _end_location(subject, one, names) if written else one.location
                unknown_node(subject, end, location)


def _end_location(subject: Subject, one: LocatedEdge, names: tuple[str, str]) -> Location:
    assert one.location is not None
    given = subject.graph.document["edges"][one.location[1]]
    return (one.location, names[0] if isinstance(given.get(names[0]), str) else names[1])


def unknown_node(subject: Subject, name: str, location: Location) -> None:
    """Tell that a node does not exist."""
    near = subject.errors.suggest(name, subject.nodes)
    fix = f'Write "{near}", or add the node.' if near else "Add the node, or name one that there is."
    subject.errors.add(location, "unknown_node", f"there is no node {named(name)}", fix)


def check_circles(subject: Subject) -> None:
    """Check that no path leads back to where it came from."""
    for circle in subject.past.circles:
        if len(circle) > 1:
            ids = [*circle[:_PATH_SHOWN], *(["…"] if len(circle) > _PATH_SHOWN else []), circle[0]]
            path = " → ".join(cut(node, 30) for node in ids)
            location = next(one.location for one in subject.outgoing[circle[0]] if one.edge.target == circle[1])
            subject.errors.add(location, "cycle", "Graph contains cycles", f"Remove one edge of {path}.")


def check_entry(subject: Subject) -> None:
    """Check that everything is behind `entry_node`, if there is one."""
    entry, document = subject.graph.entry_node, subject.graph.document
    if entry is None:
        return
    location: Location = (None, "entry_node" if document.get("entry_node") else "entry_point")
    if entry not in subject.nodes:
        unknown_node(subject, entry, location)
        return
    ways = [(one.edge.source, one.edge.target) for edges in subject.outgoing.values() for one in edges]
    behind = reachable(entry, ways)
    for node in subject.nodes:
        if node not in subject.incoming and node not in behind:
            message = f"{named(node)} can't be reached from the entry node {named(entry)}"
            fix = "Add an edge to it, or leave entry_node out: all nodes without incoming edges begin."
            subject.errors.add(subject.nodes[node].location, "unreachable", message, fix)


def check_reach(subject: Subject) -> None:
    """Check that each node can run in some course of events; what is only behind one that can't is not told."""
    stuck: set[str] = set()
    for node in (node for level in subject.past.levels for node in level):
        edges, join = subject.incoming.get(node, []), subject.nodes[node].node.join
        if not edges:
            continue
        needed = join if isinstance(join, int) else 1
        sources_run = [one for one in edges if one.edge.source not in stuck]
        if _takable(subject, sources_run) >= needed:
            continue
        stuck.add(node)
        if sources_run:
            _never_runs(subject, node, needed, len(edges))


def _never_runs(subject: Subject, node: str, needed: int, edges: int) -> None:
    located, fix = subject.nodes[node], "Change the edges to it: on, condition, or the router's targets."
    message = f"{named(node)} can never run: none of the edges to it can be taken"
    location = located.location
    if needed > 1:
        message = (
            f"{named(node)} can never run: it waits for {needed} edges, fewer than that of its {edges} can be taken"
        )
        location, fix = (location, "join"), "Lower the number, or add edges."
    subject.errors.add(location, "never_runs", message, fix)


def _takable(subject: Subject, edges: Iterable[LocatedEdge]) -> int:
    """Count the edges that can all be taken in one course of events: a node ends once, as one or the other."""
    counts: dict[str, list[int]] = {}
    for one in edges:
        success, failure = _ends_followed(subject, one.edge)
        count = counts.setdefault(one.edge.source, [0, 0])
        count[0] += success
        count[1] += failure
    return sum(max(count) for count in counts.values())


def _ends_followed(subject: Subject, edge: Edge) -> tuple[bool, bool]:
    """Tell whether the edge can be taken after its source completed, and after it failed."""
    source = subject.nodes[edge.source]
    chosen = source.routing is None or edge.target in source.routing.targets
    fails = source.node.type not in _NEVER_FAIL
    return edge.on != "failure" and chosen, edge.on != "success" and fails
