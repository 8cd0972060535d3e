"""
A graph compiled for running it: a record a node, immutable once its run is submitted.

A worker reads the record of the node it runs, a script its place: what of the graph it needs to know when edges to or
from it are decided. What the records hold already is left out of the rest of the document, so that a run weighs about
as much as its graph.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor_worker.envelopes.queue_name import named_queue
from executor_worker.graph import router_config
from executor_worker.graph.definition import Graph
from executor_worker.graph.nested_ends import nested_ends
from executor_worker.graph.parts import INLINE_TYPES, Edge, Node, Retry
from executor_worker.graph.past import Past
from executor_worker.graph.problems import Problems
from executor_worker.graph.references import Needs, condition_needs, needs_of
from executor_worker.graph.router import Routing
from executor_worker.graph.template_names import template_names
from executor_worker.json_text import dumps, loads

LAYOUT = 1
"""Of the records; raised only when older code would be wrong with newer ones."""

_LEFT_OUT = "\x00"


@dataclass(slots=True, unsafe_hash=True)  # not frozen: one is made for every node, which takes thrice as long then
class Way:
    """An outgoing edge, as the node that it leaves needs to know it."""

    target: str
    on: str = "success"
    condition: str | None = None


@dataclass(slots=True)  # not frozen: one is made for every node, which takes thrice as long then
class NodePlan:
    """
    The plan of a node: what is needed to run it and to judge its edges.

    Attributes:
        out: Its outgoing edges, in the order in which scripts count them.
        sources: For an agent without a task: the sources of its incoming edges and which of their edges it is.
        reads: Nodes that its config, its conditions or its mappings name.
        inputs: The run's inputs are seen by one of these; stands in its place alone.
    """

    type: str = "executor"
    config: dict[str, Any] = field(default_factory=dict)
    retry: Retry | None = None
    timeout_s: float | None = None
    on_failure: str = "fail"
    input_mapping: dict[str, str] = field(default_factory=dict)
    output_mapping: dict[str, str] = field(default_factory=dict)
    out: tuple[Way, ...] = ()
    sources: tuple[tuple[str, int], ...] = ()
    reads: tuple[str, ...] = ()
    inputs: bool = True

    @property
    def handled(self) -> bool:
        """Tell whether the run goes on when it fails."""
        return self.on_failure == "continue" or any(way.on != "success" for way in self.out)

    def dump(self) -> bytes:
        """Write it as it is stored."""
        retry = self.retry and [
            self.retry.max_attempts, self.retry.delay_s, self.retry.backoff, self.retry.max_delay_s,
            sorted(self.retry.on) if self.retry.on is not None else None,
        ]  # fmt: skip
        ways = [
            [way.target, way.on, way.condition] if way.condition or way.on != "success" else way.target
            for way in self.out
        ]
        fields = {
            "type": self.type, "config": self.config, "retry": retry, "timeout": self.timeout_s,
            "on_failure": None if self.on_failure == "fail" else self.on_failure, "in": self.input_mapping,
            "out": self.output_mapping, "ways": ways, "sources": self.sources, "reads": self.reads,
        }  # fmt: skip
        return dumps({name: value for name, value in fields.items() if value or name == "type"})

    @classmethod
    def load(cls, record: bytes) -> NodePlan:
        """Read what `dump` wrote."""
        found = loads(record)
        retry = found.get("retry")
        if retry is not None:
            attempts, delay_s, backoff, longest_s, codes = retry
            retry = Retry(attempts, delay_s, backoff, longest_s, frozenset(codes) if codes is not None else None)
        return cls(
            type=found["type"],
            config=found.get("config", {}),
            retry=retry,
            timeout_s=found.get("timeout"),
            on_failure=found.get("on_failure", "fail"),
            input_mapping=found.get("in", {}),
            output_mapping=found.get("out", {}),
            out=tuple(Way(way) if isinstance(way, str) else Way(*way) for way in found.get("ways", ())),
            sources=tuple((source, at) for source, at in found.get("sources", ())),
            reads=tuple(found.get("reads", ())),
        )


@dataclass(slots=True)  # not frozen: one is made for every node, which takes four times as long then
class Place:
    """
    The place of a node in its graph, for scripts; see `parse_place` in lua/lib/runs/model.lua.

    Attributes:
        inline: "w" a worker runs it; "a" it is completed at once, all its edges are taken; "s" so too, and its output
            is stored for those that name it, or have it within theirs; "i" it is decided by the process that ends its
            last parent.
        need: How many edges must be taken; 0: all must be decided and one taken.
        edges: How many lead to it.
        out: Target, its need and its edges.
    """

    inline: str
    need: int
    edges: int
    type: str
    queue: str
    handled: bool
    inputs: bool
    reads: tuple[str, ...]
    out: tuple[tuple[str, int, int], ...]

    def dump(self) -> bytes:
        """Write it as it is stored."""
        flags = f"{'01'[self.handled]}\t{'01'[self.inputs]}"
        lines = [
            f"{self.inline}\t{self.need}\t{self.edges}\t{self.type}\t{self.queue}\t{flags}",
            "\t".join(self.reads),
        ]
        lines += [f"{target}\t{need}\t{edges}" for target, need, edges in self.out]
        return "\n".join(lines).encode()


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Attributes:
        skeleton: The rest of the document, and what the run's output is made of.
        sinks: The nodes whose outputs are the run's if it names none.
    """

    graph: Graph
    nodes: dict[str, NodePlan]
    places: dict[str, Place]
    roots: tuple[str, ...]
    sinks: tuple[str, ...]
    output_reads: tuple[str, ...]

    @property
    def skeleton(self) -> bytes:
        """Write the document without what the nodes' records hold, packed."""
        document = _without_configs(self.graph.document, self.nodes)
        return zlib.compress(dumps({"document": document, "output": self.graph.output, "reads": self.output_reads}), 6)


def compile_graph(graph: Graph) -> Plan:
    """Compile a graph that validation has found to be right."""
    outgoing: dict[str, list[Edge]] = {node: [] for node in graph.nodes}
    incoming: dict[str, list[tuple[str, int]]] = {node: [] for node in graph.nodes}
    for edge in graph.edges:
        incoming[edge.target].append((edge.source, len(outgoing[edge.source])))
        outgoing[edge.source].append(edge)
    past = _Pasts(graph)
    routings = {
        name: router_config.read(node.config, None, Problems())
        for name, node in graph.nodes.items()
        if node.type == "router"
    }
    plans = {
        name: _plan_of(node, outgoing[name], incoming[name], graph.nodes, routings.get(name), past)
        for name, node in graph.nodes.items()
    }
    output_reads = _output_reads(graph)
    named = {*output_reads, *(name for plan in plans.values() for name in plan.reads)}
    named |= nested_ends(graph, incoming)
    needs = {name: need_of(node, len(incoming[name])) for name, node in graph.nodes.items()}
    places = {
        name: Place(
            inline=_inline(plan, routings.get(name), name in named),
            need=needs[name],
            edges=len(incoming[name]),
            type=plan.type,
            queue=named_queue(plan.config),
            handled=plan.handled,
            inputs=plan.inputs,
            reads=_led_from(incoming[name]) if plan.type == "end" else plan.reads,
            out=tuple([(way.target, needs[way.target], len(incoming[way.target])) for way in plan.out]),
        )
        for name, plan in plans.items()
    }
    roots = tuple(node for node, edges in incoming.items() if not edges)
    sinks = tuple(node for node, edges in outgoing.items() if not edges)
    return Plan(graph, plans, places, roots, sinks, output_reads)


def need_of(node: Node, edges: int) -> int:
    """Answer how many of its *edges* must be taken for *node* to run; 0: it waits for all to be decided."""
    if node.join == "all":
        return 0
    return 1 if node.join == "any" else min(int(node.join), max(edges, 1))


def restored(skeleton: bytes, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put the document together again, of its *skeleton* and the nodes' configs."""
    document: dict[str, Any] = loads(zlib.decompress(skeleton))["document"]
    for name, node in _nodes_in(document):
        config = configs.get(name, {})
        for holder in (node, node.get("config")):
            if isinstance(holder, dict):
                for key, value in holder.items():
                    if value == _LEFT_OUT + key and key in config:
                        holder[key] = config[key]
    return document


def output_of(skeleton: bytes) -> tuple[Any, tuple[str, ...]]:
    """Answer the run's own output template and the nodes it names."""
    found = loads(zlib.decompress(skeleton))
    return found["output"], tuple(found["reads"])


def _plan_of(
    node: Node,
    out: Sequence[Edge],
    incoming: Sequence[tuple[str, int]],
    known: Mapping[str, Node],
    routing: Routing | None,
    past: _Pasts,
) -> NodePlan:
    own = needs_of(node, known, routing)
    asked = [condition_needs(edge.condition, node.id, known) for edge in out if edge.condition]
    sources = tuple(incoming) if own.parents else ()
    bare = not (asked or sources or own.nodes or own.whole_past)
    return NodePlan(
        type=node.type,
        config=node.config,
        retry=node.retry,
        timeout_s=node.timeout_s,
        on_failure=node.on_failure,
        input_mapping=node.input_mapping,
        output_mapping=node.output_mapping,
        out=tuple([Way(edge.target, edge.on, edge.condition) for edge in out]),
        sources=sources,
        reads=() if bare else _reads(node, sources, [own, *asked], past),
        inputs=own.inputs or any(needs.inputs for needs in asked),
    )


def _reads(node: Node, sources: Sequence[tuple[str, int]], needed: Sequence[Needs], past: _Pasts) -> tuple[str, ...]:
    reads = dict.fromkeys(source for source, _ in sources)
    for needs in needed:
        reads.update(dict.fromkeys(past.of(node.id) if needs.whole_past else sorted(needs.nodes)))
    reads.pop(node.id, None)
    return tuple(reads)


class _Pasts:
    """The pasts of all nodes: asked for by few graphs, so computed on demand."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._past: Past | None = None

    def of(self, node: str) -> tuple[str, ...]:
        if self._past is None:
            edges = [(edge.source, edge.target) for edge in self._graph.edges]
            self._past = Past.of(self._graph.nodes, edges)
        return self._past.of_node(node)


def _led_from(incoming: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """Answer sources and which of their edges it is, counted from 1: what an `end` has for output comes from there."""
    return tuple(word for source, at in incoming for word in (source, str(at + 1)))


def _inline(plan: NodePlan, routing: Routing | None, named: bool) -> str:
    if plan.type in INLINE_TYPES:
        plain = all(way.on != "failure" and way.condition is None for way in plan.out)
        return "i" if not plain else "s" if named else "a"
    return "w" if routing is None or routing.needs_worker else "i"


def _output_reads(graph: Graph) -> tuple[str, ...]:
    """Answer the nodes that the run's own output names."""
    names = {name for _, name in template_names(graph.output)}
    if names & {"nodes", "state", "state.node_states"}:
        return tuple(graph.nodes)
    parts = {part for name in names for part in name.split(".", 3)[:3]}
    return tuple(node for node in graph.nodes if node in parts)


def _nodes_in(document: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    nodes = document.get("nodes")
    if isinstance(nodes, dict):
        return [(name, node) for name, node in nodes.items() if isinstance(node, dict)]
    listed = nodes if isinstance(nodes, list) else []
    return [(str(node.get("id")), node) for node in listed if isinstance(node, dict)]


def _without_configs(document: dict[str, Any], plans: Mapping[str, NodePlan]) -> dict[str, Any]:
    def bare(name: str, node: dict[str, Any]) -> dict[str, Any]:
        config = plans[name].config if name in plans else {}
        heavy = [key for key, value in config.items() if _weighs(value)]
        if not heavy:
            return node
        slim, own = _without(heavy, config, node), node.get("config")
        return {**slim, "config": _without(heavy, config, own)} if isinstance(own, dict) else slim

    nodes = document.get("nodes")
    if isinstance(nodes, dict):
        slim: Any = {name: bare(name, node) if isinstance(node, dict) else node for name, node in nodes.items()}
    elif isinstance(nodes, list):
        slim = [bare(str(node.get("id")), node) if isinstance(node, dict) else node for node in nodes]
    else:
        slim = nodes
    return {**document, "nodes": slim} if "nodes" in document else document


def _without(heavy: Iterable[str], config: Mapping[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """Say of what *holder* and *config* both hold only that it is in the config."""
    return {**holder, **{key: _LEFT_OUT + key for key in heavy if key in holder and holder[key] == config[key]}}


def _weighs(value: Any) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and len(value) > 24)
