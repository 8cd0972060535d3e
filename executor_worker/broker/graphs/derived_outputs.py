"""
Outputs of starts and ends: of a start the inputs, of an end what led to it.

They are stored only where another node names them, and told with no event in the log.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.document_parts import in_order, joined, measure_ends
from executor_worker.broker.graphs.heads import hash_of, ids_of, large_hash_of, sizes_of
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_key

MOST_BYTES = 8 * 2**20
"""Of the outputs that are made for one page of events."""

MOST_ROUNDS = 3
"""Of reading what led to ends, and to the ends among that; a longer chain of ends is read with all else of its run."""


@dataclass(slots=True)
class Derived:
    """
    The outputs of some starts and ends.

    Attributes:
        sizes: Bytes of each.
    """

    graph_id: str
    inputs: bytes = b""
    sizes: dict[str, int] = field(default_factory=dict)
    _stored: dict[str, int] = field(default_factory=dict)
    _led: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _starts: set[str] = field(default_factory=set)

    def within(self, most: int) -> list[str]:
        """Choose those of *most* bytes, as long as there is room: ends that led to ends can double it each time."""
        chosen, room = list[str](), MOST_BYTES
        for name, size in self.sizes.items():
            if size <= min(most, room):
                chosen.append(name)
                room -= size
        return chosen

    def outputs(self, names: Collection[str]) -> Steps[dict[str, bytes]]:
        """Make the outputs of *names*."""
        ends, wanted = [name for name in names if name in self.sizes], dict.fromkeys(names)
        while ends:
            more = [source for source in self._led.get(ends.pop(), ()) if source not in wanted]
            wanted.update(dict.fromkeys(more))
            ends += more
        stored = {name: self._stored[name] for name in wanted if name in self._stored}
        made = yield from large_hash_of(f"{run_key(self.graph_id)}:outputs", stored)
        made.update(dict.fromkeys(self._starts & wanted.keys(), self.inputs))
        for name, sources in self._led.items():
            if name in wanted:
                found = {source: made.get(source, b"null") for source in sources}
                made[name] = joined(found) if len(found) > 1 else next(iter(found.values()), b"null")
        return {name: made[name] for name in names if name in self.sizes}


def derived(graph_id: str, names: Collection[str]) -> Steps[Derived]:
    """Find what the outputs of *names*, starts and ends that have completed, are made of."""
    found = Derived(graph_id)
    looked: set[str] = set()
    left, rounds = list(dict.fromkeys(names)), 0
    while left:
        looked.update(left)
        led = yield from _look(found, left)
        left = [source for sources in led.values() for source in sources if source not in looked]
        rounds += 1
        if left and rounds == MOST_ROUNDS:
            left = [name for name in (yield from ids_of(graph_id)) if name not in looked]
        left = list(dict.fromkeys(left))
    if found._starts:
        (inputs,) = checked((yield [(b"HGET", run_key(graph_id), "inputs")]))
        found.inputs = inputs or b"{}"
    _measure(found)
    found.sizes = {name: found.sizes[name] for name in names if name in found.sizes}
    return found


def _look(found: Derived, names: Sequence[str]) -> Steps[dict[str, list[str]]]:
    """Read of *names* what is stored, which are starts, and what led to ends; answer the latter."""
    base = run_key(found.graph_id)
    sizes = yield from sizes_of(f"{base}:outputs", names)
    found._stored.update(sizes)
    places = yield from hash_of(f"{base}:edges", [name for name in names if name not in sizes])
    ends: dict[str, list[tuple[str, int]]] = {}
    for name, place in places.items():
        kind, reads = _place_of(place)
        if kind == "start":
            found._starts.add(name)
        elif kind == "end":
            ends[name] = list(zip(reads[::2], map(int, reads[1::2]), strict=True))
    fields = yield from hash_of(f"{base}:nodes", list(dict.fromkeys(one for end in ends.values() for one, _ in end)))
    nodes = {name: NodeField.parse(raw) for name, raw in fields.items()}
    led = {
        name: list(dict.fromkeys(one for one, at in edges if _took(nodes.get(one), at))) for name, edges in ends.items()
    }
    found._led = {**found._led, **led}
    return led


def _place_of(place: bytes) -> tuple[str, list[str]]:
    """Read the type of a node, and for an end its sources, each with the number of its edge; see `graph/plan.py`."""
    first, _, rest = place.decode().partition("\n")
    reads = rest.partition("\n")[0]
    return first.split("\t")[3], reads.split("\t") if reads else []


def _took(source: NodeField | None, at: int) -> bool:
    return source is not None and source.ended > 0 and (source.took == "*" or source.took[at - 1 : at] == "1")


def _measure(found: Derived) -> None:
    """Reckon the sizes."""
    found._led = in_order(found._led)
    found.sizes = {**dict.fromkeys(found._starts, len(found.inputs)), **found._stored}
    measure_ends(found.sizes, found._led)
    found.sizes.update({name: found.sizes[name] or len("null") for name in found._led})
