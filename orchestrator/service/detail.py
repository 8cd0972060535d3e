"""A node of a run, closely: its state, its config as its templates were rendered, its attempts and their steps."""

from __future__ import annotations

from typing import Any

from executor_worker.broker.graphs import Steps
from executor_worker.broker.graphs.inspection import journal, log_of, seen_by
from executor_worker.broker.graphs.node_views import NodeDetail
from executor_worker.errors import TemplateError
from executor_worker.json_text import loads
from orchestrator.service.attempts import attempts_of
from orchestrator.service.rules import Renders
from orchestrator.service.views import edges_of, node_of


def of(graph_id: str, found: NodeDetail, render: Renders) -> Steps[dict[str, Any]]:
    """Put together all that is known of a node."""
    view = found.view
    config, problem = (yield from _rendered(graph_id, found, render)) if view.ready_seq else (None, None)
    journals = yield from journal(graph_id, found)
    events = (yield from log_of(graph_id, view)) if view.attempt > 1 else []
    return {
        **node_of(view),
        "graph_id": graph_id,
        "attempt": view.attempt,
        "error": view.error,
        "metadata": view.metadata,
        "output": loads(found.output) if found.output is not None else None,
        "config": found.plan.config,
        "rendered": config,
        "rendering_error": problem,
        "edges": list(edges_of(found)),
        "attempts": attempts_of(view, journals, events, None if view.metadata.get("cached_from") else config),
    }


def _rendered(graph_id: str, found: NodeDetail, render: Renders) -> Steps[tuple[Any, str | None]]:
    """Render the config as the node's worker does; a router's conditions and prompts are no such templates."""
    if found.plan.type in ("router", "start", "end"):
        return found.plan.config, None
    try:
        config, wrong = render(found.plan.config, (yield from seen_by(graph_id, found)))
        return (None, next(iter(wrong.values()))) if wrong else (config, None)
    except TemplateError as error:
        return None, str(error)
