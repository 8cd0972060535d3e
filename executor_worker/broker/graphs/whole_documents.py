"""A run's result with all outputs, however large they are: written piece by piece, to be sent as it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs import documents
from executor_worker.broker.graphs.errors import RunNotEnded
from executor_worker.broker.graphs.heads import Head, hash_of, ids_of, large_hash_of, pages_of, require, sizes_of
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Request, Steps, words_of
from executor_worker.broker.names import run_key
from executor_worker.graph.plan import NodePlan
from executor_worker.json_text import dumps

Pieces = Generator[Sequence[Request] | bytes, Any, None]
"""Like `Steps`, but yields the document's pieces between its requests."""


@dataclass(frozen=True, slots=True)
class _Run:
    """
    A run without its outputs.

    Attributes:
        stored: Bytes of the outputs that are stored.
        led: See `documents.led`.
    """

    about: Head
    ids: Sequence[str]
    plans: Mapping[str, NodePlan]
    inputs: bytes
    nodes: Mapping[str, NodeField]
    stored: Mapping[str, int]
    led: Mapping[str, Sequence[str]]

    @property
    def base(self) -> str:
        return run_key(self.about.graph_id)

    def size(self, name: str) -> int:
        return self.stored.get(name) or sum(self.stored.get(one, 0) for one in self.led.get(name, ()))

    def pages(self, names: Iterable[str]) -> Iterator[list[str]]:
        return pages_of({name: self.size(name) for name in names})


def whole_result(graph_id: str) -> Pieces:
    """
    Write the result of an ended run; see `documents.result`.

    Raises:
        RunUnknown, RunNotEnded: There is none; before the first piece.
    """
    about = yield from require(graph_id)
    if not about.ended:
        raise RunNotEnded(graph_id, "stopping" if about.stopping else about.status)
    run = yield from _read(about)
    yield documents.joined(documents.before_result(about))[:-1] + b',"result":{'
    yield from _states(run)
    yield b'},"output":'
    yield from _output(run)
    yield b',"error":' + dumps((about.error or {}).get("error")) + b"}"


def _read(about: Head) -> Steps[_Run]:
    base = run_key(about.graph_id)
    ids = yield from ids_of(about.graph_id)
    records = yield from hash_of(f"{base}:plan", ids)
    (inputs,) = checked((yield [(b"HGET", base, "inputs")]))
    fields = yield from hash_of(f"{base}:nodes", ids)
    stored = yield from sizes_of(f"{base}:outputs", ids)
    plans = {name: NodePlan.load(record) for name, record in records.items()}
    nodes = {name: NodeField.parse(raw) for name, raw in fields.items()}
    return _Run(about, ids, plans, inputs, nodes, stored, documents.led(nodes, plans))


def _outputs(run: _Run, names: Sequence[str]) -> Steps[dict[str, bytes]]:
    """Read and derive the outputs of some nodes."""
    led = {name: run.led[name] for name in names if name in run.led and name not in run.stored}
    wanted = dict.fromkeys([*names, *(source for sources in led.values() for source in sources)])
    outputs = yield from large_hash_of(
        f"{run.base}:outputs", {name: run.stored[name] for name in wanted if name in run.stored}
    )
    documents.derive(outputs, run.nodes, {name: run.plans[name] for name in wanted}, led, run.inputs)
    return outputs


def _states(run: _Run) -> Pieces:
    rest = NodeField(status="cancelled" if run.about.status == "cancelled" else "pending")
    between = b""
    for names in run.pages(run.ids):
        outputs = yield from _outputs(run, names)
        states = [
            dumps(name) + b":" + documents.state(name, run.nodes.get(name) or rest, outputs.get(name), None)
            for name in names
        ]
        yield between + b",".join(states)
        between = b","


def _output(run: _Run) -> Pieces:
    (own,) = checked((yield [(b"HGET", run.base, "result")]))
    sinks = [name for name in run.ids if not run.plans[name].out]
    done = [name for name in sinks if name in run.nodes and run.nodes[name].status == "completed"]
    if run.about.status != "completed" or own is not None:
        yield b"null" if run.about.status != "completed" else bytes(own)
    elif len(sinks) == 1 and done:
        outputs = yield from _outputs(run, done)
        yield outputs.get(done[0], b"null")
    else:
        between = b"{"
        for names in run.pages(done):
            outputs = yield from _outputs(run, names)
            yield between + b",".join(dumps(name) + b":" + outputs.get(name, b"null") for name in names)
            between = b","
        yield b"}" if between == b"," else b"{}"


async def apieces(client: Client, pieces: Pieces) -> AsyncIterator[bytes]:
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
