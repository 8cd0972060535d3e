"""Inspection of one node: what it could see, and what its attempts have done step by step."""

from __future__ import annotations

from typing import Any

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.event_pages import events
from executor_worker.broker.graphs.heads import hash_of
from executor_worker.broker.graphs.node_views import NodeDetail, NodeView
from executor_worker.broker.graphs.past_outputs import past_outputs
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_journal, run_key
from executor_worker.graph.judging import Seen
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import loads

LOG_PAGE, LOG_PAGES = 1000, 10
"""Events of a run that are looked through for those of one node: its attempts lie near each other in most runs."""


def seen_by(graph_id: str, found: NodeDetail) -> Steps[Seen]:
    """
    Read what the templates of a node that has become ready could see.

    Raises:
        TemplateError: It is larger than what is read for one node.
    """
    base, reads = run_key(graph_id), found.plan.reads
    (inputs,) = checked((yield [(b"HGET", base, "inputs")]))
    fields = yield from hash_of(f"{base}:nodes", reads)
    states = {name: NodeField.parse(fields[name]) if name in fields else NodeField() for name in reads}
    ended = {name for name, state in states.items() if 0 < state.ended <= (found.view.ready_seq or 0)}
    outputs = yield from past_outputs(
        graph_id, [name for name in reads if name in ended and states[name].status == "completed"]
    )
    past: dict[str, NodeEnd] = {}
    for name, state in states.items():
        value = loads(outputs[name]) if name in outputs else None
        past[name] = NodeEnd(state.status, value, state.error or "") if name in ended else NodeEnd("pending")
    return Seen(graph_id, loads(inputs or b"{}"), past)


def journal(graph_id: str, found: NodeDetail) -> Steps[list[list[dict[str, Any]]]]:
    """Read what was written down of each attempt of a node, oldest first."""
    attempts = range(1, found.view.attempt + 1)
    keys = [run_journal(graph_id, found.view.id, found.epoch, attempt) for attempt in attempts]
    replies = checked((yield [(b"LRANGE", key, 0, -1) for key in keys]))
    return [[loads(record) for record in records] for records in replies]


def log_of(graph_id: str, view: NodeView) -> Steps[list[dict[str, Any]]]:
    """Read what the run's log tells of a node since it became ready, up to its end or as far as is worth a look."""
    after, found = view.ready_seq or 0, []
    for _ in range(LOG_PAGES):
        page = yield from events(graph_id, after, LOG_PAGE, nodes=(view.id,))
        found += page.events
        after = page.next_after
        if after >= page.last_seq or (view.ended_seq and after >= view.ended_seq):
            break
    return found
