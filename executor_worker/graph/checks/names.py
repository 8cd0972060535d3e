"""Conditions, templates and mappings: that they can be read, and name only what can be there at that point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from executor_worker.graph.checks.structure import unknown_node
from executor_worker.graph.checks.subject import Subject
from executor_worker.graph.conditions import ROOTS, Condition, ConditionError
from executor_worker.graph.expressions import Path
from executor_worker.graph.problems import Location, cut, named
from executor_worker.graph.reading import LocatedNode
from executor_worker.graph.references import node_in_path, node_names, prompt_names
from executor_worker.graph.template_names import template_names

MOST_CEL = 128 * 1024
"""Characters of all different conditions of one graph: compiling them is most of what a check costs."""

STATE_FIELDS = ("inputs", "graph_id", "status", "node_states")
NODE_STATE_FIELDS = ("status", "output", "error")


@dataclass(frozen=True, slots=True)
class _Viewpoint:
    """
    The viewpoint from which names are seen.

    Attributes:
        node: Whose past they are in.
        itself: That node's own output is seen too: a condition is asked after it ended.
    """

    node: str
    itself: bool = False

    def sees(self, subject: Subject, other: str) -> bool:
        """Tell whether *other* has ended, or been skipped, by then."""
        return (other == self.node and self.itself) or (other != self.node and subject.past.sees(self.node, other))


def check_conditions(subject: Subject) -> None:
    """Compile the conditions of edges and routers, and look at what they name."""
    seen: set[str] = set()
    budget = MOST_CEL
    for text, view, location in _conditions(subject):
        budget -= 0 if text in seen else len(text)
        seen.add(text)
        if subject.errors.full:
            return
        if budget < 0:
            message = f"the conditions have more than {MOST_CEL:,} characters together; the rest was not looked at"
            subject.errors.add(location, "too_much_cel", message, "Compute what they share in a node before.")
            return
        _check_condition(subject, text, view, location)


def _conditions(subject: Subject) -> Iterable[tuple[str, _Viewpoint, Location]]:
    for one in subject.located.edges:
        if one.edge.condition is not None and one.edge.source in subject.nodes:
            yield one.edge.condition, _Viewpoint(one.edge.source, itself=True), (one.location, "condition")
    for node, located in subject.nodes.items():
        for rule in located.routing.rules if located.routing else ():
            yield rule.condition, _Viewpoint(node), (rule.location, "condition")


def _check_condition(subject: Subject, text: str, view: _Viewpoint, location: Location) -> None:
    try:
        condition = Condition.compile(text)
    except ConditionError as error:
        column = f" (column {error.column})" if error.column is not None else ""
        subject.errors.add(location, "invalid_condition", f"{error}{column}", error.fix or "Write it in CEL.")
        return
    for path in condition.names():
        _check_path(subject, path, view, location)


def _check_path(subject: Subject, path: Path, view: _Viewpoint, location: Location) -> None:
    root, column = path.parts[0], f" (column {path.at + 1})"
    if root not in ROOTS or (root == "output" and not view.itself):
        message = f"there is no {named(root)} here{column}; what there is: {', '.join(ROOTS)}"
        subject.errors.add(location, "unknown_name", message, _root_fix(subject, root, view))
        return
    node = node_in_path(path.parts)
    if node is not None:
        _check_node(subject, node, view, location, column)
    if path.parts[:2] == ("state", "node_states") and len(path.parts) > 3 and path.parts[3] not in NODE_STATE_FIELDS:
        message = f"a node's state has {', '.join(NODE_STATE_FIELDS)}, no {named(path.parts[3])}{column}"
        subject.errors.add(location, "unknown_name", message, f"Write one of {', '.join(NODE_STATE_FIELDS)}.")


def _root_fix(subject: Subject, root: str, view: _Viewpoint) -> str:
    if root == "output":
        return "Write nodes.<id> for the node that is meant: a router's rule follows no single one."
    if root in subject.nodes and view.sees(subject, root):
        return f"Write {_in_nodes(root)}."
    return f"Write inputs.{root}, or nodes.<id> for the output of a node."


def _in_nodes(node: str) -> str:
    return f"nodes.{node}" if node.isidentifier() else f'nodes["{cut(node)}"]'


def _check_node(subject: Subject, node: str, view: _Viewpoint, location: Location, column: str = "") -> None:
    if node not in subject.nodes:
        unknown_node(subject, node, location)
    elif not view.sees(subject, node):
        _not_upstream(subject, node, view, location, column)


def _not_upstream(subject: Subject, node: str, view: _Viewpoint, location: Location, column: str = "") -> None:
    if node == view.node:
        message = f"{named(node)} names its own output{column}, which is not there before it ran"
        fix = "Name an input or a node before it."
    else:
        message = f"{named(node)} need not have ended then{column}: no path leads from it to {named(view.node)}"
        fix = f"Add an edge from {named(node)}, or name a node that comes before."
    subject.errors.add(location, "not_upstream", message, fix)


def check_templates(subject: Subject) -> None:
    """Look at the names in templates and mappings of nodes, and in the graph's output."""
    for node, located in subject.nodes.items():
        optional = _optional(located)
        for location, name in node_names(located.node, located.routing):
            if subject.errors.full:
                return
            _check_name(subject, name, node, located, location, needed=name not in optional)
    output = subject.graph.output
    for location, name in template_names(output, (None, "output")):
        if subject.errors.full:
            return
        _check_output_name(subject, name, location)


def _optional(located: LocatedNode) -> frozenset[str]:
    """Answer the names of a router's prompt that are null if they are missing: only asked for in helpers."""
    if located.routing is None or located.routing.model is None:
        return frozenset()
    names = prompt_names(located.routing.model.prompt)
    return frozenset(name for name, needed in names if not needed) - {name for name, needed in names if needed}


def _check_name(
    subject: Subject, name: str, node: str, located: LocatedNode, location: Location, *, needed: bool
) -> None:
    """Check a name in a template: an input, a node in the past, or, as far as is known, an input to come."""
    mapped = located.node.input_mapping if not _mapping(location) else {}
    if _is_input(name, subject, mapped):
        return
    parts, view = _without_state(subject, name).split("."), _Viewpoint(node)
    if parts == ["state"] or _is_input(".".join(parts), subject, mapped):
        return
    if parts[0] == "nodes":
        if len(parts) > 1:
            _check_node(subject, parts[1], view, _absolute(located, location))
    elif parts[0] != "inputs" and parts[0] in subject.nodes:
        if not view.sees(subject, parts[0]):
            _not_upstream(subject, parts[0], view, _absolute(located, location))
    elif subject.inputs is not None and needed and name != "inputs":
        _unknown(subject, name, view, _absolute(located, location))


def _check_output_name(subject: Subject, name: str, location: Location) -> None:
    bare = _without_state(subject, name)
    parts = bare.split(".")
    if _is_input(name, subject, {}) or _is_input(bare, subject, {}) or bare in ("inputs", "nodes", "state"):
        return
    if parts[0] == "nodes" and parts[1] not in subject.nodes:
        unknown_node(subject, parts[1], location)
    elif parts[0] != "nodes" and parts[0] not in subject.nodes and subject.inputs is not None:
        _unknown(subject, name, None, location)


def _without_state(subject: Subject, name: str) -> str:
    """Answer what a template's `state.…` stands for, as a name without it; `state` for fields that are always there."""
    if not name.startswith("state.") or "state" in subject.nodes:
        return name
    inside = name.removeprefix("state.")
    first, _, rest = inside.partition(".")
    if first in ("graph_id", "status") or inside in ("inputs", "node_states"):
        return "state"
    return f"nodes.{rest}" if first == "node_states" else f"inputs.{inside.removeprefix('inputs.')}"


def _is_input(name: str, subject: Subject, mapped: dict[str, str]) -> bool:
    """Tell whether *name* or a beginning of it is an input; keys may hold dots."""
    bare = name.removeprefix("inputs.") if name.startswith("inputs.") else name
    parts = bare.split(".", 100)
    known = subject.inputs or {}
    return any((begin := ".".join(parts[:taken])) in known or begin in mapped for taken in range(1, len(parts) + 1))


def _unknown(subject: Subject, name: str, view: _Viewpoint | None, location: Location) -> None:
    known = list(subject.inputs or ())
    seen = [node for node in subject.nodes if view is None or view.sees(subject, node)][:20] if len(known) < 20 else []
    near = subject.errors.suggest(name.removeprefix("inputs."), [*known, *seen])
    listed = ", ".join(cut(one, 30) for one in [*known, *seen][:20]) or "nothing"
    message = f"{{{{{cut(name)}}}}} is no input and no node before; there are: {listed}"
    subject.errors.add(location, "unknown_name", message, f"Write {{{{{near}}}}}." if near else "Give it as an input.")


def _mapping(location: Location) -> bool:
    while location is not None and location[0] is not None:
        location = location[0]
    return location is not None and location[1] == "input_mapping"


def _absolute(located: LocatedNode, location: Location) -> Location:
    """Turn a location in a node as it was read into one in the document."""
    parts: list[str | int] = []
    while location is not None:
        location, key = location
        parts.append(key)
    parts.reverse()
    if parts[0] == "config":
        at = located.location_of(*(str(part) for part in parts[1:2]))
        rest = parts[2:]
    else:
        at, rest = located.location, parts
    for part in rest:
        at = (at, part)
    return at
