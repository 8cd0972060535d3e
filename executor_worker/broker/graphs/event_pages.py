"""Events of a run, read from its log by pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.derived_outputs import MOST_BYTES, derived
from executor_worker.broker.graphs.document_pieces import Pieces
from executor_worker.broker.graphs.errors import RunUnknown
from executor_worker.broker.graphs.heads import (
    hash_of,
    head_of,
    head_requests,
    known_id,
    large_hash_of,
    pages_of,
    require,
    sizes_of,
)
from executor_worker.broker.graphs.records import SMALL, event_of
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_key
from executor_worker.json_text import dumps, loads


@dataclass(frozen=True, slots=True)
class EventPage:
    """
    Attributes:
        next_after: The last seq that was looked at, shown or not.
        ended: It is the run's last one, and the run has ended.
    """

    events: list[dict[str, Any]]
    next_after: int
    ended: bool
    last_seq: int


def events(
    graph_id: str,
    after: int = 0,
    limit: int = 500,
    *,
    types: Collection[str] = (),
    nodes: Collection[str] = (),
    include_output: bool = False,
) -> Steps[EventPage]:
    """
    Read a run's events after number *after*.

    Args:
        include_output: Also outputs that are too large to be told with each event.

    Raises:
        RunUnknown: There is no such run.
    """
    base = run_key(graph_id) if known_id(graph_id) else ""
    if not base:
        raise RunUnknown(graph_id)
    fields, last, records = checked(
        (yield [*head_requests(graph_id), (b"LRANGE", f"{base}:log", after, after + limit - 1)])
    )
    about = head_of(fields, last)
    if about is None:
        raise RunUnknown(graph_id)
    found = [event_of(graph_id, after + at, record) for at, record in enumerate(records, 1)]
    wanted = [one for one in found if _wanted(one, types, nodes)]
    yield from _lay_in(graph_id, wanted, include_output)
    looked = after + len(records)
    return EventPage(wanted, looked, about.ended and looked >= last, last)


def _wanted(event: Mapping[str, Any], types: Collection[str], nodes: Collection[str]) -> bool:
    return (not types or event["type"] in types) and (not nodes or event.get("node_id") in nodes)


def _lay_in(graph_id: str, found: Sequence[dict[str, Any]], all_of_them: bool) -> Steps[None]:
    """Put outputs into the events of their nodes: the log itself holds none."""
    some = [
        one
        for one in found
        if one["type"] == "node.completed" and (all_of_them or one["data"].get("output_bytes", SMALL + 1) <= SMALL)
    ]
    key, names = f"{run_key(graph_id)}:outputs", [one["node_id"] for one in some]
    if all_of_them:
        outputs = yield from large_hash_of(key, (yield from sizes_of(key, names)))
    else:
        outputs = yield from hash_of(key, names)
    for one in some:
        if one["node_id"] in outputs:
            _lay_in_one(one, outputs[one["node_id"]])
    yield from _lay_in_derived(graph_id, found, MOST_BYTES if all_of_them else SMALL)


def _lay_in_derived(graph_id: str, found: Iterable[dict[str, Any]], most: int) -> Steps[None]:
    """Put in outputs of starts and ends, up to *most* bytes; of larger ones say how many they have."""
    some = [one for one in found if _lacks_output(one) and "output_bytes" not in one["data"]]
    made = yield from derived(graph_id, [one["node_id"] for one in some])
    outputs = yield from made.outputs(made.within(most))
    for one in some:
        name = one["node_id"]
        if name in outputs:
            _lay_in_one(one, outputs[name])
        elif name in made.sizes:
            one["data"]["output_bytes"] = made.sizes[name]


def _lay_in_one(event: dict[str, Any], output: bytes) -> None:
    event["data"] = {"output": loads(output), **event["data"]}
    event["data"].pop("output_bytes", None)


def pieces_with_outputs(
    graph_id: str, found: Sequence[dict[str, Any]], shown: Callable[[dict[str, Any]], dict[str, Any]]
) -> Pieces:
    """
    Write events, each with its node's output however large that is, with commas between them.

    Args:
        found: A page of them, read without large outputs.
        shown: What is shown of each.

    Raises:
        RunUnknown: The run was deleted meanwhile.
    """
    key = f"{run_key(graph_id)}:outputs"
    lacking = {at: one["node_id"] for at, one in enumerate(found) if _lacks_output(one)}
    names = list(dict.fromkeys(lacking.values()))
    sizes = yield from sizes_of(key, names)
    made = yield from derived(graph_id, [name for name in names if name not in sizes])
    small = {name: made.sizes[name] for name in made.within(MOST_BYTES)}
    weights = {
        str(at): sizes.get(lacking.get(at, ""), 0) or small.get(lacking.get(at, ""), 0) for at in range(len(found))
    }
    between = b""
    for page in pages_of(weights):
        names = list(dict.fromkeys(lacking[int(at)] for at in page if int(at) in lacking))
        outputs = yield from large_hash_of(key, {name: sizes[name] for name in names if name in sizes})
        outputs.update((yield from made.outputs([name for name in names if name in small])))
        written = []
        for one in map(found.__getitem__, map(int, page)):
            if _lacks_output(one) and one["node_id"] in outputs:
                one = {**one}
                _lay_in_one(one, outputs[one["node_id"]])
            written.append(dumps(shown(one)))
        yield between + b",".join(written)
        between = b","
    yield from require(graph_id)


def _lacks_output(event: Mapping[str, Any]) -> bool:
    return event["type"] == "node.completed" and "output" not in event["data"]


def check_cursor(graph_id: str, seq: int, four: str) -> Steps[bool]:
    """Tell whether event number *seq* is still the one whose id begins with *four*."""
    if seq == 0:
        return True
    (records,) = checked((yield [(b"LRANGE", f"{run_key(graph_id)}:log", seq - 1, seq - 1)]))
    return bool(records) and event_of(graph_id, seq, records[0])["id"].startswith(four)


def cursor_of(event: Mapping[str, Any]) -> str:
    """Answer how an event is named as the place to go on from."""
    return f"{event['seq']}-{event['id'][:4]}"
