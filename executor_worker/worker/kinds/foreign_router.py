"""Routers of graphs that others schedule: config, what rules see, what is told, as the original has it."""

from __future__ import annotations

from typing import Any

from executor_worker.broker.names import DECIDED_STREAM
from executor_worker.envelopes.events import rfc3339
from executor_worker.envelopes.work_item import Item
from executor_worker.graph.router_config import FIELDS
from executor_worker.graph.scopes import NodeEnd, condition_scope
from executor_worker.graph.state import GraphState
from executor_worker.json_text import dumps
from executor_worker.nodes.router import INVALID_CONFIG
from executor_worker.outcome import Completed, Failed
from executor_worker.worker.stages import Work


def config_on_node(state: GraphState, node_id: str) -> dict[str, Any] | None:
    """Answer a router's config where it stands on the node itself, as the original's graphs had it."""
    nodes = state.graph.get("nodes") if isinstance(state.graph, dict) else None
    node = nodes.get(node_id) if isinstance(nodes, dict) else None
    if isinstance(nodes, list):
        node = next((one for one in nodes if isinstance(one, dict) and one.get("id") == node_id), None)
    return {name: node[name] for name in FIELDS if name in node} if isinstance(node, dict) else None


def rules(item: Item, state: GraphState | None) -> dict[str, Any]:
    """Return what a router's rules see of a foreign document: all of it."""
    inputs = {**(state.inputs if state is not None else {}), **(item.given_inputs or {})}
    ends = {}
    for node, entry in (state.nodes if state is not None else {}).items():
        if isinstance(entry, dict):
            ends[node] = NodeEnd(str(entry.get("status") or ""), entry.get("output"), str(entry.get("error") or ""))
    return condition_scope(inputs, ends, item.graph_id)


def decided(work: Work, outcome: Completed, now: float) -> tuple[str, bytes]:
    """Tell what a router has decided where the original's routers told it."""
    output = outcome.output
    told = {
        "execution_id": work.names[1],
        "mode": output["mode"],
        "node_id": work.node_id,
        "path_taken": output["path"],
        "reasoning": output["reasoning"],
        "target_node": output["target"],
        "timestamp": rfc3339(now),
    }
    return DECIDED_STREAM, dumps(told)


def not_decided(work: Work, outcome: Failed, now: float) -> tuple[str, bytes]:
    """Tell what has kept a router from deciding where the original's routers told it."""
    execution_id = work.names[1]
    texts = {
        "state_missing": f"failed to load state: state not found for execution {execution_id}",
        "state_invalid": f"failed to convert state: {outcome.error}",
        "invalid_node": f"failed to parse node config: {outcome.error}",
    }
    routing_failed = f"routing failed: {outcome.error}"
    read = outcome.error.startswith(INVALID_CONFIG)
    told = {
        "error": routing_failed if read else texts.get(outcome.code, routing_failed),
        "execution_id": execution_id,
        "node_id": work.node_id,
        "timestamp": rfc3339(now),
    }
    return f"{DECIDED_STREAM}.errors", dumps(told)
