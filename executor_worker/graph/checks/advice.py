"""Warnings: what runs, but perhaps not as its author meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from executor_worker.graph import fields
from executor_worker.graph.checks.subject import Retired, Subject
from executor_worker.graph.problems import Location, named
from executor_worker.graph.reading import CONFIG_FIELDS, LocatedNode
from executor_worker.graph.references import MODEL_FIELDS, needs_of

SPECIAL_IDS = frozenset({"inputs", "nodes", "state", "output", "item", "index", "previous", "iteration"})

_ALL_TOOLS = "*"

_GRAPH_FIELDS, _EDGE_FIELDS = frozenset(fields.GRAPH.fields), frozenset(fields.EDGE.fields)
_ANY_NODE_FIELDS = frozenset(fields.LISTED_NODE.fields)
_NODE_FIELDS = {kind: _ANY_NODE_FIELDS | set(more) for kind, more in CONFIG_FIELDS.items()}


def check_names(subject: Subject) -> None:
    """Warn of ids that mean something else in templates, and of fields that are not read."""
    document = subject.graph.document
    _unread(subject, document, _GRAPH_FIELDS, None)
    _unheeded(subject, document, "entry_node", "entry_point", None)
    for node, located in subject.nodes.items():
        if node in SPECIAL_IDS:
            message = f"in templates and conditions {named(node)} means something else first"
            subject.warnings.add(located.location, "special_id", message, "Give the node another id.")
        _unread(subject, located.given, _NODE_FIELDS.get(located.node.type, _ANY_NODE_FIELDS), located.location)
    edges = document.get("edges")
    for index, edge in enumerate(edges if isinstance(edges, list) else ()):
        if isinstance(edge, dict):
            _unread(subject, edge, _EDGE_FIELDS, ((None, "edges"), index))
            _unheeded(subject, edge, "from", "source", ((None, "edges"), index))
            _unheeded(subject, edge, "to", "target", ((None, "edges"), index))


def _unread(subject: Subject, given: Mapping[str, Any], known: frozenset[str], location: Location) -> None:
    if given.keys() <= known or subject.warnings.full:
        return
    for name in sorted(given.keys() - known):
        near = subject.warnings.suggest(name, sorted(known))
        fix = f'Write "{near}".' if near else "Leave it out, or put it into metadata."
        subject.warnings.add((location, name), "unknown_field", f"{named(name)} is not read", fix)


def _unheeded(subject: Subject, given: Mapping[str, Any], name: str, other: str, location: Location) -> None:
    if given.get(name) and given.get(other) and given[name] != given[other]:
        message = f"{named(other)} is not read: {named(name)}, which counts, says something else"
        subject.warnings.add((location, other), "two_values", message, f'Leave "{other}" out.')


def check_failures(subject: Subject) -> None:
    """Warn of a failure that is let pass if no edge then leads on."""
    for node, located in subject.nodes.items():
        edges = subject.outgoing.get(node, [])
        if located.node.on_failure == "continue" and edges and all(one.edge.on == "success" for one in edges):
            message = f"when {named(node)} fails, none of its edges is taken: all are for success"
            fix = 'Let an edge follow with "on": "always" or "failure", or leave on_failure out.'
            subject.warnings.add((located.location, "on_failure"), "continues_nowhere", message, fix)


def check_joins(subject: Subject) -> None:
    """Warn of a join of a node to which no edge leads: it begins at once."""
    joining = [node for node, located in subject.nodes.items() if located.node.join != "all"]
    targets = {one.edge.target for one in subject.located.edges} if joining else set()
    for node in joining:
        if node not in targets:
            message = f"{named(node)} waits for nothing: no edge leads to it, it begins at once"
            fix = "Add the edges it is to wait for, or leave join out."
            subject.warnings.add((subject.nodes[node].location, "join"), "needless_join", message, fix)


def check_edges(subject: Subject) -> None:
    """Warn of an edge that is switched off: what is behind it is skipped."""
    for one in subject.located.edges:
        if one.edge.condition is not None and one.edge.condition.strip() == "false":
            fix = "Take the edge away, or write when it is to be taken."
            subject.warnings.add(
                (one.location, "condition"), "never_taken", "is never true: the edge is not taken", fix
            )


def check_chains(subject: Subject) -> None:
    """Warn of nodes that wait for one another though neither needs the other's output."""
    for node, edges in subject.incoming.items():
        edge, located = edges[0].edge, subject.nodes[node]
        before = subject.nodes[edge.source].node
        plain = len(edges) == 1 and edge.on == "success" and edge.condition is None
        if plain and before.works and located.node.works and not _needs(subject, located, edge.source):
            message = f"{named(node)} waits for {named(edge.source)}, but uses nothing of it: both could run at once"
            fix = "Take the edge away where the order does not matter."
            subject.warnings.add(edges[0].location, "needless_order", message, fix)


def _needs(subject: Subject, located: LocatedNode, source: str) -> bool:
    needs = needs_of(located.node, subject.nodes, located.routing)
    return needs.whole_past or needs.parents or source in needs.nodes


def check_limits(subject: Subject, bounded: bool) -> None:
    """Warn of models that may go on for as long as the pool lets them."""
    if bounded or subject.graph.timeout_s:
        return
    for node, located in subject.nodes.items():
        if located.node.timeout_s is None and _calls_model(located) and not located.node.config.get("budget"):
            message = f"{named(node)} calls a model and has neither timeout nor budget, nor has the graph"
            subject.warnings.add(located.location, "no_limit", message, 'Give the graph a "timeout", or the node one.')


def _calls_model(located: LocatedNode) -> bool:
    if located.routing is not None:
        return located.routing.model is not None
    return (
        located.node.works
        and not located.node.config.get("tool_name")
        and bool(located.node.config.keys() & set(MODEL_FIELDS))
    )


def check_circumstances(subject: Subject, offered: frozenset[str] | None, retired: Retired | None) -> None:
    """Warn of tools that no worker offers at present, and of models that are retired."""
    for located in subject.nodes.values():
        for tool, location in _tools(located) if offered is not None else ():
            if offered is not None and tool not in offered:
                near = subject.warnings.suggest(tool, sorted(offered))
                message = f"no worker offers the tool {named(tool)} at present"
                fix = f'Write "{near}", or start a pool that has it.' if near else "Start a pool that has it."
                subject.warnings.add(location, "tool_not_offered", message, fix)
        for model, location in _models(located) if retired is not None else ():
            sentence = retired(model) if retired is not None else None
            if sentence:
                subject.warnings.add(location, "retired_model", sentence, "Name another model, or none.")


def _tools(located: LocatedNode) -> Iterator[tuple[str, Location]]:
    config = located.node.config
    if not located.node.works:
        return
    if isinstance(config.get("tool_name"), str) and config["tool_name"]:
        yield config["tool_name"], located.location_of("tool_name")
    elif isinstance(config.get("tools"), list):
        for index, tool in enumerate(config["tools"]):
            if isinstance(tool, str) and tool != _ALL_TOOLS:
                yield tool, (located.location_of("tools"), index)


def _models(located: LocatedNode) -> Iterator[tuple[str, Location]]:
    if located.routing is not None and located.routing.model is not None:
        model = located.routing.model
        yield from _models_in(model.settings, model.location)
    elif located.node.works:
        yield from _models_in(located.node.config, located.location_of())
        within = located.node.config.get("llm_config")
        if isinstance(within, dict):
            yield from _models_in(within, located.location_of("llm_config"))


def _models_in(settings: Mapping[str, Any], location: Location) -> Iterator[tuple[str, Location]]:
    if isinstance(settings.get("model"), str):
        yield settings["model"], (location, "model")
    others = settings.get("fallbacks")
    for index, one in enumerate(others if isinstance(others, list) else ()):
        name = one.get("model") if isinstance(one, dict) else one
        if isinstance(name, str):
            yield name, ((location, "fallbacks"), index)
