"""
References in a node's templates, mappings and rules: nodes of its past, and the outputs to be read for it.

What a bare name means (an input or a node) is decided when it is rendered; here all that it may mean counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from executor_worker.errors import TemplateError
from executor_worker.graph import prompts
from executor_worker.graph.conditions import Condition, ConditionError
from executor_worker.graph.parts import Node
from executor_worker.graph.problems import Location
from executor_worker.graph.router import Routing
from executor_worker.graph.template_names import template_names

TEMPLATE_FIELDS = (
    *(("llm_config", "prompt"), ("llm_config", "system"), ("llm_config", "system_prompt")),
    *(("prompt",), ("system",), ("system_prompt",), ("task",), ("tool_params",), ("parameters",)),
    *(("extract_params", "from"), ("extract_params", "llm_config", "prompt")),
    *(("extract_params", "llm_config", "system"), ("extract_params", "llm_config", "system_prompt")),
)
"""Fields of a worker's config that are rendered, at any depth."""

MODEL_FIELDS = ("llm_config", "prompt", "model", "system_prompt", "system", "temperature", "max_tokens")
"""If one of these is given, a model is called; CONTRACT §5."""


@dataclass(frozen=True, slots=True)
class Needs:
    """
    The needs of a node: what has to be read before it can run.

    Attributes:
        nodes: Whose outputs are mentioned.
        whole_past: The outputs of all nodes in its past.
        parents: The outputs of the nodes whose edges to it were taken: an agent without a task is given these.
        inputs: The run's.
    """

    nodes: frozenset[str] = frozenset()
    whole_past: bool = False
    parents: bool = False
    inputs: bool = True


def needs_of(node: Node, ids: Mapping[str, Any], routing: Routing | None = None) -> Needs:
    """
    Args:
        ids: Of all nodes of the graph.
        routing: A router's; its rules count as well as its prompt.
    """
    names = {name for _, name in node_names(node, routing)}
    if not names and routing is None:
        return _nameless(gives_parents(node), not _is_told_all(node))
    mentioned = {mentioned for name in names if (mentioned := _node_in(name, ids)) is not None}
    paths = [parts for condition in rules_of(routing) for parts in condition_paths(condition)]
    mentioned |= {named for parts in paths if (named := node_in_path(parts)) in ids and named is not None}
    whole = bool(names & {"nodes", "state", "state.node_states"}) or any(_all_nodes(parts) for parts in paths)
    inputs = bool(names) or routing is not None or not _is_told_all(node)
    return Needs(frozenset(mentioned), whole, gives_parents(node), inputs)


@cache
def _nameless(parents: bool, inputs: bool) -> Needs:
    return Needs(parents=parents, inputs=inputs)


def gives_parents(node: Node) -> bool:
    """Tell whether a model is given what came before because no prompt says what to ask it."""
    config = node.config
    if not node.works or config.get("tool_name") or all(config.get(name) is None for name in MODEL_FIELDS):
        return False
    within = config.get("llm_config")
    asked = config.get("prompt") or config.get("task") or (within.get("prompt") if isinstance(within, dict) else None)
    return not asked


def _is_told_all(node: Node) -> bool:
    """Tell whether a worker's config says all there is to say, so that no inputs stand for what it leaves open."""
    config = node.config
    if not node.works:
        return False
    if config.get("tool_name"):
        return config.get("extract_params") is None
    within = config.get("llm_config")
    texts = (config.get("prompt"), config.get("task"), within.get("prompt") if isinstance(within, dict) else None)
    return any(isinstance(text, str) and text.strip() for text in texts)


def condition_needs(condition: str, source: str, ids: Mapping[str, Any]) -> Needs:
    """Say what has to be read before an edge's condition can be asked; *source* is whose end it follows."""
    paths = condition_paths(condition)
    mentioned = {named for parts in paths if (named := node_in_path(parts)) is not None and named in ids}
    if any(parts[0] == "output" for parts in paths):
        mentioned.add(source)
    return Needs(frozenset(mentioned), any(_all_nodes(parts) for parts in paths))


def node_names(node: Node, routing: Routing | None = None) -> Iterator[tuple[Location, str]]:
    """Yield the names in a node's templates and mappings, each with its location in the config or node."""
    if node.works:
        for name in node.config.keys() & _RENDERED.keys():
            for path, location in _RENDERED[name]:
                value = _at(node.config, path)
                if value is not None:
                    yield from template_names(value, location)
    if routing is not None and routing.model is not None:
        yield from ((_location(("config", "prompt_template")), name) for name, _ in prompt_names(routing.model.prompt))
        for field_name in ("system", "system_prompt"):
            yield from template_names(routing.model.settings.get(field_name), _location(("config", field_name)))
    for name, path_text in node.input_mapping.items():
        yield (_location(("input_mapping", name)), path_text.strip())
    if node.cache is not None:
        yield from template_names(node.cache.key, _location(("cache", "key")))


def prompt_names(template: str) -> tuple[tuple[str, bool], ...]:
    """Answer the names a router's prompt looks up, and whether they must be there; none if it can't be read."""
    try:
        return tuple(prompts.names(template))
    except TemplateError:
        return ()


def rules_of(routing: Routing | None) -> Iterator[str]:
    """Yield the conditions of a router's rules."""
    for rule in routing.rules if routing is not None else ():
        yield rule.condition


def condition_paths(text: str) -> tuple[tuple[str, ...], ...]:
    """Answer the paths a condition names; none if it can't be compiled."""
    try:
        return tuple(path.parts for path in Condition.compile(text).names())
    except ConditionError:
        return ()


def node_in_path(parts: tuple[str, ...]) -> str | None:
    """Answer the node that a path of a condition leads to."""
    if parts[0] == "nodes" and len(parts) > 1:
        return parts[1]
    return parts[2] if parts[:2] == ("state", "node_states") and len(parts) > 2 else None


def _all_nodes(parts: tuple[str, ...]) -> bool:
    return parts in (("nodes",), ("state",), ("state", "node_states"))


def _node_in(name: str, ids: Mapping[str, Any]) -> str | None:
    """Answer the node that a template's name may mean."""
    parts = name.split(".", 3)
    explicit = parts[0] == "nodes" and len(parts) > 1
    named = parts[1] if explicit else parts[2] if parts[:2] == ["state", "node_states"] and len(parts) > 2 else parts[0]
    return named if named in ids else None


def _at(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = config
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _location(path: tuple[str, ...]) -> Location:
    location: Location = None
    for part in path:
        location = (location, part)
    return location


_RENDERED = {
    path[0]: [(each, _location(("config", *each))) for each in TEMPLATE_FIELDS if each[0] == path[0]]
    for path in TEMPLATE_FIELDS
}
