"""Scopes of conditions and of routers' prompts: `inputs`, `nodes`, `output` and the original's `state`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NO_SOURCE = object()


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """
    The end of a node in the past.

    Attributes:
        status: completed, failed, skipped or cancelled; of a node that had not ended in time, what it was then.
        output: None unless it completed.
    """

    status: str
    output: Any = None
    error: str = ""


def condition_scope(
    inputs: Mapping[str, Any], past: Mapping[str, NodeEnd], graph_id: str, output: Any = _NO_SOURCE
) -> dict[str, Any]:
    """
    Answer the names of a condition.

    Args:
        past: The nodes it may see; those it does not name may be left out.
        output: Of the edge's source; a router's rule has none.
    """
    scope = {
        "inputs": inputs,
        "nodes": {node: end.output for node, end in past.items()},
        "state": state_of(inputs, past, graph_id),
    }
    return scope if output is _NO_SOURCE else {**scope, "output": output}


def state_of(inputs: Mapping[str, Any], past: Mapping[str, NodeEnd], graph_id: str) -> dict[str, Any]:
    """Answer `state`: the inputs by name, and the state's own fields, which go before inputs of the same name."""
    ends = {node: {"status": end.status, "output": end.output, "error": end.error} for node, end in past.items()}
    return {**inputs, "inputs": inputs, "graph_id": graph_id, "status": "running", "node_states": ends}
