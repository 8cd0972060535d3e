"""The shape of a graph's document: what the published schema says and what reading accepts, once for both."""

from __future__ import annotations

from executor_worker.graph import parts
from executor_worker.graph.shapes import (
    Anything,
    ByType,
    Choice,
    Duration,
    Id,
    ListOf,
    MapOf,
    Number,
    Record,
    Shape,
    Text,
    Whole,
)

RETRY = Record(
    {
        "max_attempts": Whole(1, "In total, the first attempt included; default 1."),
        "delay": Duration("Before the second attempt; default 1 s."),
        "backoff": Number(1, "How many times as long each further wait is; default 2."),
        "max_delay": Duration("The longest wait; default 60 s."),
        "on": ListOf(
            Text(), "Error codes that are tried again; default: all but those that would fail the same again."
        ),
    },
    says="How often and after what wait a failed node is run again.",
)

CACHE = Record(
    {
        "ttl": Duration("How long an output is kept.", positive=True),
        "key": Text("A template; default: the rendered config."),
    },
    needs=(("ttl",),),
    says="Take the output of an equal call from before.",
)

_NODE_FIELDS: dict[str, Shape] = {
    "type": Choice(parts.TYPES, "What the node is; default executor.", code="unknown_type"),
    "config": MapOf(Anything(), "What the node does; by its type."),
    "executor_type": Text("The original's name of what an executor does: llm, tool, http, custom."),
    "name": Text("For people."),
    "description": Text("For people."),
    "metadata": MapOf(Anything(), "Yours; kept as it is."),
    "join": ByType(
        string=Choice(("all", "any")),
        number=Whole(1),
        must="all, any or a number",
        says="When a node with several incoming edges runs; default all.",
    ),
    "retry": RETRY,
    "timeout": Duration("From the start of each attempt.", positive=True),
    "on_failure": Choice(("fail", "continue"), "Whether the run goes on when the node failed; default fail."),
    "input_mapping": MapOf(Text(), "Name → path (inputs.q, nodes.a.items.0), laid over the inputs for rendering."),
    "output_mapping": MapOf(Text(), "Name → path in what the node gave; the node's output is made of these."),
    "cache": CACHE,
    "dependencies": ListOf(Id(), "Nodes that come before: an edge from each."),
}

NODE = Record({"id": Id("The same as its key."), **_NODE_FIELDS})

LISTED_NODE = Record({"id": Id(), "node_id": Id("As id."), **_NODE_FIELDS}, needs=(("id", "node_id"),))

EDGE = Record(
    {
        "from": Id("The node it leaves."),
        "to": Id("The node it leads to."),
        "source": Id("As from."),
        "target": Id("As to."),
        "on": Choice(("success", "failure", "always"), "How the node it leaves must have ended; default success."),
        "condition": Text("CEL; the edge is taken if it is true."),
        "id": Text("For people."),
        "label": Text("For people."),
        "metadata": MapOf(Anything(), "Yours; kept as it is."),
    },
    needs=(("from", "source"), ("to", "target")),
)

GRAPH = Record(
    {
        "id": Text("Your name of the graph; runs have ids of their own."),
        "name": Text("For people."),
        "version": Text("Yours."),
        "description": Text("For people."),
        "metadata": MapOf(Anything(), "Yours; kept as it is."),
        "nodes": ByType(
            object=MapOf(NODE, names=Id()),
            array=ListOf(LISTED_NODE),
            must="an object of nodes by id, or a list of nodes with ids",
        ),
        "edges": ListOf(EDGE, "What comes after what."),
        "entry_node": Id("Where the run begins; every other node is behind it."),
        "entry_point": Id("As entry_node."),
        "timeout": Duration("Of the run; 0: none."),
        "max_parallel": Whole(1, "Nodes of one run that are queued or run at once."),
        "failure": Choice(
            ("fail_fast", "finish"), "What an unhandled failure does with the other branches; default fail_fast."
        ),
        "output": ByType(
            string=Text(),
            object=MapOf(Anything()),
            must="a template or an object of templates",
            says="What the run answers; default: the outputs of the nodes without outgoing edges.",
        ),
    },
    needs=(("nodes",),),
    says="A graph of work: nodes and the edges between them.",
)
