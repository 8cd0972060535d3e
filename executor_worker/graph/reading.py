"""
Reading of a graph's document, in any of its spellings, into nodes and edges.

Each is kept with its location in the document, for messages. What has the wrong shape was told before and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from executor_worker.graph import durations, fields, parts, router_config
from executor_worker.graph.parts import Cache, Edge, Join, Node, On, OnFailure, Retry
from executor_worker.graph.problems import Location, Problems, named, shown
from executor_worker.graph.router import Routing

_OWN = {*fields.LISTED_NODE.fields}

_WORK_FIELDS = (
    *("llm_config", "prompt", "model", "system", "system_prompt", "temperature", "max_tokens", "output_schema"),
    *("fallbacks", "tool_name", "tool_params", "parameters", "extract_params", "tools", "task", "max_iterations"),
    *("on_limit", "on_uncertain", "budget", "queue", "toolsets"),
)

MOST_BACKOFF = 1_000_000
_POLICIES = {"retry": fields.RETRY, "cache": fields.CACHE}
_REQUEST_FIELDS = ("url", "method", "headers", "body")

CONFIG_FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(parts.WORK_TYPES, (*_WORK_FIELDS, *_REQUEST_FIELDS)),
    "router": router_config.FIELDS,
    "map": ("over", "node", "graph", "max_parallel", "on_item_failure"),
    "graph": ("graph", "definition", "inputs"),
    "loop": ("graph", "while", "max_iterations", "on_limit"),
    "wait": ("signal", "timeout", "on_timeout", "seconds", "until"),
}
"""What a type's config may hold: taken directly on the node too."""

_LAID = {kind: frozenset(names) - _OWN for kind, names in CONFIG_FIELDS.items()}


@dataclass(slots=True)  # not frozen: one is made for every node, which takes thrice as long then
class LocatedNode:
    """
    Attributes:
        given: The node as it came.
        routing: What a router's config says.
    """

    node: Node
    location: Location
    given: Mapping[str, Any]
    routing: Routing | None = None

    def location_of(self, *path: str) -> Location:
        """Answer where a field of its config stands: in `config`, or on the node itself."""
        location = self.location
        config = self.given.get("config")
        if isinstance(config, dict) and (not path or config.get(path[0]) is not None or path[0] not in self.given):
            location = (location, "config")
        for part in path:
            location = (location, part)
        return location


@dataclass(slots=True)  # not frozen: one is made for every edge, which takes twice as long then
class LocatedEdge:
    """An edge, and where it or what it stands for is in the document."""

    edge: Edge
    location: Location


def nodes_of(document: Mapping[str, Any], problems: Problems) -> dict[str, LocatedNode]:
    """Read the nodes, in the document's order."""
    nodes: dict[str, LocatedNode] = {}
    for name, given, location in _named(document.get("nodes"), problems):
        if name in nodes:
            message = f"there is a node {named(name)} already"
            problems.add(location, "duplicate_id", message, "Give each node an id of its own.")
        else:
            nodes[name] = _node(name, given, location, problems)
    return nodes


def _named(nodes: Any, problems: Problems) -> Iterator[tuple[str, Mapping[str, Any], Location]]:
    at: Location = (None, "nodes")
    if isinstance(nodes, dict):
        for name, given in nodes.items():
            if isinstance(given, dict):
                own = given.get("id")
                if isinstance(own, str) and own != name:
                    message = f"the id is {shown(own)}, but the node stands under {shown(name)}"
                    problems.add(((at, name), "id"), "id_mismatch", message, "Leave the id out, or write the key.")
                yield name, given, (at, name)
    elif isinstance(nodes, list):
        for index, given in enumerate(nodes):
            name = (given.get("id") or given.get("node_id")) if isinstance(given, dict) else None
            if isinstance(name, str):
                yield name, given, (at, index)


def _node(name: str, given: Mapping[str, Any], location: Location, problems: Problems) -> LocatedNode:
    kind = text(given, "type") or "executor"
    config = _config(given, kind)
    timeout = _first_duration(given.get("timeout"), config.pop("timeout", None))
    retry = _policy("retry", given, config, location, problems) if "retry" in given or "retry" in config else None
    cache = _policy("cache", given, config, location, problems) if "cache" in given or "cache" in config else None
    if kind in parts.WORK_TYPES:
        config = _work_config(given, config, timeout)
    node = Node(
        id=name,
        type=kind,
        config=config,
        retry=retry_of(retry) if retry else None,
        timeout_s=timeout or None,
        cache=_cache(cache) if cache else None,
        **{field: _READ[field](value) for field, value in given.items() if field in _READ},
    )
    if kind != "router":
        return LocatedNode(node, location, given)
    nested = isinstance(given.get("config"), dict)
    return LocatedNode(
        node, location, given, router_config.read(config, (location, "config") if nested else location, problems)
    )


def _policy(
    name: str, given: Mapping[str, Any], config: Mapping[str, Any], location: Location, problems: Problems
) -> Mapping[str, Any] | None:
    """Answer the node's `retry` or `cache`, else its config's; whether that has the right shape is told here."""
    own, within = given.get(name), config.get(name)
    if within is not None:
        _POLICIES[name].check(within, ((location, "config"), name), problems)
    return _mapping(own) or _mapping(within)


def _config(given: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Take `config`, and what of it stands on the node itself."""
    config = dict(_mapping(given.get("config")))
    laid = _LAID.get(kind, frozenset())
    for name, value in given.items():
        if name in laid and value is not None and config.get(name) is None:
            config[name] = value
    return config


def _work_config(given: Mapping[str, Any], config: dict[str, Any], timeout: float | None) -> dict[str, Any]:
    """Write a worker's config as CONTRACT has it: `http` is a tool, the timeout is in seconds, `retry` is the run's."""
    for name in ("retry", "cache"):
        config.pop(name, None)
    if given.get("executor_type") == "http" and not config.get("tool_name"):
        params = {name: config.pop(name) for name in _REQUEST_FIELDS if name in config}
        config = {**config, "tool_name": "http_request", "tool_params": params}
    return config if timeout is None else {**config, "timeout": timeout}


def edges_of(document: Mapping[str, Any], nodes: Mapping[str, LocatedNode]) -> list[LocatedEdge]:
    """Read the edges: those written, then those of `dependencies`, then those of routers' targets that have none."""
    edges = list(_written(document.get("edges")))
    ways = {(located.edge.source, located.edge.target) for located in edges}
    for located in (*_dependencies(nodes), *_routes(nodes)):
        way = (located.edge.source, located.edge.target)
        if way not in ways:
            ways.add(way)
            edges.append(located)
    return edges


def _written(edges: Any) -> Iterator[LocatedEdge]:
    at: Location = (None, "edges")
    for index, given in enumerate(edges if isinstance(edges, list) else ()):
        if isinstance(given, dict):
            source, target = _end(given, "from", "source"), _end(given, "to", "target")
            if source and target:
                yield LocatedEdge(_edge(source, target, given), (at, index))


def _edge(source: str, target: str, given: Mapping[str, Any]) -> Edge:
    if len(given) == 2:
        return Edge(source, target)
    on = given.get("on")
    return Edge(
        source=source,
        target=target,
        on=cast(On, on if on in ("failure", "always") else "success"),
        condition=text(given, "condition") or None,
        id=text(given, "id"),
        label=text(given, "label"),
        metadata=_mapping(given.get("metadata")),
    )


def _end(given: Mapping[str, Any], name: str, other: str) -> str | None:
    return text(given, name) or text(given, other)


def _dependencies(nodes: Mapping[str, LocatedNode]) -> Iterator[LocatedEdge]:
    for node, located in nodes.items():
        given = located.given.get("dependencies")
        for index, source in enumerate(given if isinstance(given, list) else ()):
            if isinstance(source, str):
                yield LocatedEdge(Edge(source, node, implied=True), ((located.location, "dependencies"), index))


def _routes(nodes: Mapping[str, LocatedNode]) -> Iterator[LocatedEdge]:
    for node, located in nodes.items():
        for target, location in _targets(located.routing):
            if target in nodes:
                yield LocatedEdge(Edge(node, target, implied=True), location)


def _targets(routing: Routing | None) -> Iterator[tuple[str, Location]]:
    if routing is not None:
        yield from (
            (rule.target, (rule.location, "target")) for rule in sorted(routing.rules, key=lambda one: one.number)
        )
        if routing.model is not None:
            at: Location = (routing.model.location, "routes")
            yield from ((target, (at, label)) for label, target in routing.model.routes.items())
        if routing.fallback is not None:
            yield routing.fallback, routing.fallback_location


def targets_of(located: LocatedNode) -> Iterable[tuple[str, Location]]:
    """Answer a router's targets, each with where it is named."""
    return _targets(located.routing)


def retry_of(given: Mapping[str, Any]) -> Retry:
    """Read a `retry` that has the right shape."""
    plain = Retry()
    on, backoff, attempts = given.get("on"), given.get("backoff"), given.get("max_attempts")
    return Retry(
        max_attempts=whole(attempts) or plain.max_attempts,
        delay_s=_first_duration(given.get("delay"), plain.delay_s) or 0.0,
        backoff=float(min(backoff, MOST_BACKOFF)) if isinstance(backoff, (int, float)) else plain.backoff,
        max_delay_s=_first_duration(given.get("max_delay"), plain.max_delay_s) or 0.0,
        on=frozenset(code for code in on if isinstance(code, str)) if isinstance(on, list) else None,
    )


def _cache(given: Mapping[str, Any]) -> Cache:
    return Cache(durations.seconds(given.get("ttl")) or 0.0, text(given, "key"))


def _join(given: Any) -> Join:
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        return "all"
    if isinstance(given, str):
        return "any" if given == "any" else "all"
    return int(given) if given == given // 1 and given >= 1 else "all"


def _first_duration(*given: Any) -> float | None:
    for each in given:
        if each is not None and (length := durations.seconds(each)) is not None:
            return length
    return None


def whole(value: Any) -> int | None:
    """Read a whole number of at least 1, None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < math.inf:
        return None
    return int(value) if value == int(value) else None


def text(given: Mapping[str, Any], name: str) -> str | None:
    """Answer a text field, None if it is none."""
    return _text(given.get(name))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    return {key: text for key, text in _mapping(value).items() if isinstance(text, str)}


def _on_failure(value: Any) -> OnFailure:
    return "continue" if value == "continue" else "fail"


_READ: dict[str, Callable[[Any], Any]] = {
    "join": _join,
    "on_failure": _on_failure,
    "input_mapping": _texts,
    "output_mapping": _texts,
    "executor_type": _text,
    "name": _text,
    "description": _text,
    "metadata": _mapping,
}
"""Fields of a node that stand on it alone, each with how it is read."""
