"""A graph state in a file: its shape, and whether it is of the graph it is meant for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from executor_worker.cli.exits import FAILED, Quit
from executor_worker.cli.files import read_bytes
from executor_worker.errors import StateInvalid
from executor_worker.graph.state import GraphState
from executor_worker.json_text import loads

_FIELDS = ("graph_id", "graph", "status", "inputs", "node_states", "submitted_at")
_CLOSE = 0.75  # other fields are the author's own: only what is nearly one of ours is told


def read_state(name: str, graphs: Sequence[str]) -> tuple[str, bytes]:
    """
    Read the state of one of *graphs*; return the graph's id and the document as it is written.

    Raises:
        Quit: It can't be read (2), or is no such state (1).
    """
    document = read_bytes(name).strip()
    try:
        state = checked_state(document)
        return of_graph(state, graphs), document
    except StateInvalid as error:
        raise Quit(FAILED, f"{name!r}: {error}.") from None


def checked_state(document: bytes) -> dict[str, Any]:
    """
    Parse a state that a person has written.

    Raises:
        StateInvalid: It is no state; all that is wrong with it is told.
    """
    GraphState.parse(document)
    state: dict[str, Any] = loads(document)
    problems = list(_problems(state))
    if problems:
        raise StateInvalid("; ".join(problems))
    return state


def of_graph(state: dict[str, Any], graphs: Sequence[str]) -> str:
    """
    Return the graph the state is of, which must be one of *graphs*; if it does not say, the only one.

    Raises:
        StateInvalid: It is of another graph, or of one of several.
    """
    graph_id = state.get("graph_id")
    names = ", ".join(map(repr, graphs[:5])) + (f" and {len(graphs) - 5} more" if len(graphs) > 5 else "")
    if graph_id is None and len(graphs) > 1:
        raise StateInvalid(f"the state has no 'graph_id', and the items are of several graphs ({names}): add it")
    if graph_id is not None and graph_id not in graphs:
        raise StateInvalid(f"it is the state of the graph {graph_id!r}; the items are of {names}")
    return str(graph_id or graphs[0])


def _problems(state: dict[str, Any]) -> Iterator[str]:
    graph_id, graph = state.get("graph_id"), state.get("graph")
    if graph_id is not None and (not isinstance(graph_id, str) or not graph_id):
        yield "the state's 'graph_id' is not a non-empty string"
    if "nodes" in state and "graph" not in state:
        yield 'it is a graph, not a graph\'s state: write it as {"graph_id": …, "graph": <it>, "inputs": {}}'
    if graph is not None and not isinstance(graph, dict):
        yield "the state's 'graph' is not an object"
    elif isinstance((graph or {}).get("nodes", {}), str | int | float):
        yield "the state's 'graph.nodes' is neither an object nor an array"
    for node_id, entry in (state.get("node_states") or {}).items():
        yield from _node_problems(str(node_id), entry)
    for name in state.keys() - set(_FIELDS):
        missing = [known for known in _FIELDS if known not in state]
        if near := get_close_matches(name, missing, n=1, cutoff=_CLOSE):
            yield f"the state has no {near[0]!r}, but {name!r}: rename it"


def _node_problems(node_id: str, entry: Any) -> Iterator[str]:
    where = f"the state's 'node_states.{node_id}'"
    if not isinstance(entry, dict):
        yield f"{where} is not an object with 'status' and 'output'"
        return
    status, named = entry.get("status"), entry.get("node_id")
    if status is not None and not isinstance(status, str):
        yield f"{where} has a 'status' that is not a string"
    if named is not None and named != node_id:
        yield f"{where} has the 'node_id' {named!r}"
