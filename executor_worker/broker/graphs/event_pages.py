"""Events of a run, read from its log by pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.errors import RunUnknown
from executor_worker.broker.graphs.heads import hash_of, head_of, head_requests, known_id, large_hash_of, sizes_of
from executor_worker.broker.graphs.records import SMALL, event_of
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_key
from executor_worker.json_text import loads


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
    yield from _lay_in(base, wanted, include_output)
    looked = after + len(records)
    return EventPage(wanted, looked, about.ended and looked >= last, last)


def _wanted(event: Mapping[str, Any], types: Collection[str], nodes: Collection[str]) -> bool:
    return (not types or event["type"] in types) and (not nodes or event.get("node_id") in nodes)


def _lay_in(base: str, found: Iterable[dict[str, Any]], all_of_them: bool) -> Steps[None]:
    """Put outputs into the events of their nodes: the log itself holds none."""
    some = [
        one
        for one in found
        if one["type"] == "node.completed" and (all_of_them or one["data"].get("output_bytes", SMALL + 1) <= SMALL)
    ]
    key, names = f"{base}:outputs", [one["node_id"] for one in some]
    if all_of_them:
        outputs = yield from large_hash_of(key, (yield from sizes_of(key, names)))
    else:
        outputs = yield from hash_of(key, names)
    for one in some:
        if one["node_id"] in outputs:
            one["data"] = {"output": loads(outputs[one["node_id"]]), **one["data"]}
            del one["data"]["output_bytes"]


def check_cursor(graph_id: str, seq: int, four: str) -> Steps[bool]:
    """Tell whether event number *seq* is still the one whose id begins with *four*."""
    if seq == 0:
        return True
    (records,) = checked((yield [(b"LRANGE", f"{run_key(graph_id)}:log", seq - 1, seq - 1)]))
    return bool(records) and event_of(graph_id, seq, records[0])["id"].startswith(four)


def cursor_of(event: Mapping[str, Any]) -> str:
    """Answer how an event is named as the place to go on from."""
    return f"{event['seq']}-{event['id'][:4]}"
