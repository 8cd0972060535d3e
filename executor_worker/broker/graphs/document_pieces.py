"""
A run's state document and its result, piece by piece: however large they are, no process holds more than a piece.

A piece is some outputs of a megabyte together, or one that is larger.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.document_parts import (
    derive,
    in_order,
    joined,
    led,
    measure_ends,
    state,
    state_around,
    time_of,
)
from executor_worker.broker.graphs.errors import RunNotEnded
from executor_worker.broker.graphs.heads import (
    PAGE_BYTES,
    Head,
    hash_of,
    ids_of,
    large_hash_of,
    pages_of,
    require,
    sizes_of,
)
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Request, Steps, words_of
from executor_worker.broker.names import run_key
from executor_worker.graph.plan import NodePlan, restored
from executor_worker.json_text import dumps

LARGE, LARGE_OUTPUT = 32 * 2**20, 64 * 2**10
"""Bytes: from the first on a document leaves out outputs over the second."""

Pieces = Generator[Sequence[Request] | bytes, Any, None]
"""Like `Steps`, but yields pieces of a text between its requests."""


@dataclass(frozen=True, slots=True)
class _Run:
    """
    A run without its outputs.

    Attributes:
        stored: Bytes of the outputs that are stored.
        sizes: Bytes of all outputs, also of those that are made of others'.
        led: See `document_parts.led`; ends that led to others come first.
        left_out: Bytes of the outputs that are not shown with their nodes.
        sinks: Nodes whose outputs are the run's.
        hidden: Those of them whose outputs are not shown there.
    """

    about: Head
    ids: Sequence[str]
    plans: Mapping[str, NodePlan]
    inputs: bytes
    nodes: Mapping[str, NodeField]
    stored: Mapping[str, int]
    sizes: Mapping[str, int]
    led: Mapping[str, Sequence[str]]
    left_out: Mapping[str, int]
    sinks: Sequence[str]
    hidden: Collection[str]

    @property
    def base(self) -> str:
        return run_key(self.about.graph_id)

    def is_large_end(self, name: str) -> bool:
        """Tell whether its output, which is made of others', is more than a page."""
        return name in self.led and self.sizes.get(name, 0) > PAGE_BYTES

    def pages(self, names: Iterable[str]) -> Iterator[list[str]]:
        return pages_of({name: self.sizes.get(name, 0) for name in names})


def document_pieces(graph_id: str, *, full: bool) -> Pieces:
    """
    Write a run's state document as it is now, but for the bracket that closes it.

    Args:
        full: Also outputs that are left out of large ones.

    Raises:
        RunUnknown: There is no such run; or it was deleted meanwhile, after the first piece.
    """
    about = yield from require(graph_id)
    run = yield from _read(about, full=full)
    (skeleton,) = checked((yield [(b"HGET", f"{run.base}:plan", "")]))
    before = {
        "graph_id": dumps(graph_id),
        "graph": dumps(restored(skeleton, {name: plan.config for name, plan in run.plans.items()})),
        "inputs": run.inputs,
        "name": dumps(about.name or None),
        "labels": dumps(about.labels),
        "metadata": dumps(about.metadata),
        "submitted_by": dumps(about.submitted_by),
        "status": dumps(about.status),
    }
    behind = {
        "submitted_at": time_of(about.submitted_at_ms),
        "started_at": time_of(about.started_at_ms),
        "completed_at": time_of(about.completed_at_ms),
        "error": dumps((about.error or {}).get("error")),
    }
    yield joined(before)[:-1] + b',"node_states":{'
    yield from _states(run)
    yield b"}," + joined(behind)[1:-1] + b',"output":'
    yield from _output(run)
    yield b',"seq":' + dumps(about.seq)


def result_pieces(graph_id: str, *, full: bool) -> Pieces:
    """
    Write the result of an ended run.

    Args:
        full: Also outputs that are left out of large ones.

    Raises:
        RunUnknown, RunNotEnded: There is none, before the first piece; or it was deleted meanwhile.
    """
    about = yield from require(graph_id)
    if not about.ended:
        raise RunNotEnded(graph_id, "stopping" if about.stopping else about.status)
    run = yield from _read(about, full=full)
    before = {
        "graph_id": dumps(graph_id),
        "status": dumps(about.status),
        "completed_at": time_of(about.completed_at_ms),
    }
    yield joined(before)[:-1] + b',"result":{'
    yield from _states(run)
    yield b'},"output":'
    yield from _output(run)
    yield b',"error":' + dumps((about.error or {}).get("error")) + b"}"


def _read(about: Head, *, full: bool) -> Steps[_Run]:
    base = run_key(about.graph_id)
    ids = yield from ids_of(about.graph_id)
    records = yield from hash_of(f"{base}:plan", ids)
    (inputs,) = checked((yield [(b"HGET", base, "inputs")]))
    fields = yield from hash_of(f"{base}:nodes", ids)
    stored = yield from sizes_of(f"{base}:outputs", ids)
    if len(records) < len(ids):
        yield from require(about.graph_id)
    plans = {name: NodePlan.load(record) for name, record in records.items()}
    nodes = {name: NodeField.parse(raw) for name, raw in fields.items()}
    sources_of = in_order({name: sources for name, sources in led(nodes, plans).items() if name not in stored})
    sizes = {name: len(inputs) for name, plan in plans.items() if plan.type == "start" and name in nodes} | stored
    measure_ends(sizes, sources_of)
    cut = not full and sum(sizes.values()) > LARGE
    left_out = {name: size for name, size in sizes.items() if cut and size > LARGE_OUTPUT}
    sinks = [name for name in ids if not plans[name].out]
    hidden = left_out.keys() & set(sinks) if sum(sizes.get(name, 0) for name in sinks) > LARGE else set()
    return _Run(about, ids, plans, inputs, nodes, stored, sizes, sources_of, left_out, sinks, hidden)


def _outputs(run: _Run, names: Collection[str]) -> Steps[dict[str, bytes]]:
    """
    Read and derive the outputs of some nodes.

    Raises:
        RunUnknown: The run was deleted meanwhile.
    """
    wanted = dict.fromkeys(names)
    ends = [name for name in names if name in run.led]
    while ends:
        more = [source for source in run.led[ends.pop()] if source not in wanted]
        wanted.update(dict.fromkeys(more))
        ends += [source for source in more if source in run.led]
    derived = wanted.keys() & run.led.keys()
    sources_of = {name: sources for name, sources in run.led.items() if name in derived} if derived else {}
    sizes = {name: run.stored[name] for name in wanted if name in run.stored}
    outputs = yield from large_hash_of(f"{run.base}:outputs", sizes)
    if len(outputs) < len(sizes):
        yield from require(run.about.graph_id)
    derive(outputs, run.nodes, {name: run.plans[name] for name in wanted}, sources_of, run.inputs)
    return outputs


def _states(run: _Run) -> Pieces:
    rest = NodeField(status="cancelled" if run.about.ended and run.about.status == "cancelled" else "pending")
    between = b""
    for names in run.pages(run.ids):
        first = names[0]
        if run.is_large_end(first) and first not in run.left_out:
            before, behind = state_around(first, run.nodes[first], None)
            yield between + dumps(first) + b":" + before
            yield from _output_of(run, first)
            yield behind
        else:
            outputs = yield from _outputs(run, [name for name in names if name not in run.left_out])
            states = [
                dumps(name) + b":" + state(name, run.nodes.get(name) or rest, outputs.get(name), run.left_out.get(name))
                for name in names
            ]
            yield between + b",".join(states)
        between = b","


def _output(run: _Run) -> Pieces:
    if run.about.status != "completed" or not run.about.ended:
        yield b"null"
        return
    (own,) = checked((yield [(b"HGET", run.base, "result")]))
    done = [name for name in run.sinks if name in run.nodes and run.nodes[name].status == "completed"]
    if own is not None:
        yield bytes(own)
    elif len(run.sinks) == 1 and done:
        yield from _shown(run, done[0])
    else:
        yield from _object_of(run, done)


def _shown(run: _Run, name: str) -> Pieces:
    if name in run.hidden:
        yield b"null"
    else:
        yield from _output_of(run, name)


def _output_of(run: _Run, name: str) -> Pieces:
    """Write the output of one node, however many have led to it."""
    if not run.is_large_end(name):
        outputs = yield from _outputs(run, [name])
        yield outputs.get(name, b"null")
    else:
        while name in run.led and len(run.led[name]) == 1:
            name = run.led[name][0]
        if name not in run.led:
            yield from _output_of(run, name)
            return
        yield from _object_of(run, run.led[name])


def _object_of(run: _Run, names: Sequence[str]) -> Pieces:
    """Write the outputs of some nodes by name."""
    between = b"{"
    for page in run.pages(names):
        if run.is_large_end(page[0]):
            yield between + dumps(page[0]) + b":"
            yield from _shown(run, page[0])
        else:
            outputs = yield from _outputs(run, [name for name in page if name not in run.hidden])
            yield between + b",".join(dumps(name) + b":" + outputs.get(name, b"null") for name in page)
        between = b","
    yield b"}" if between == b"," else b"{}"


def gathered(pieces: Pieces) -> Steps[bytes]:
    """Put *pieces* together."""
    made: list[bytes] = []
    try:
        step = next(pieces)
        while True:
            if isinstance(step, bytes):
                made.append(step)
                step = next(pieces)
            else:
                step = pieces.send((yield step))
    except StopIteration:
        return b"".join(made)


async def apieces(client: Client, pieces: Pieces) -> AsyncGenerator[bytes]:
    """
    Make the pieces over *client*, as they are wanted.

    Raises:
        StreamUnavailable: No reply.
        RunError: It can't be done.
    """
    try:
        made = next(pieces)
        while True:
            if isinstance(made, bytes):
                yield made
                made = next(pieces)
            else:
                made = pieces.send(await client.ask([words_of(request) for request in made]))
    except StopIteration:
        return
