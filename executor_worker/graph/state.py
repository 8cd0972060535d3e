"""
A graph's state document: read as values, changed as text.

Only the members that are ours are written; every other byte of the document stays what it was, so integers of
any size, doubles, escapes, the order of keys and unknown fields come out as they went in. No Redis here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import StateInvalid
from executor_worker.graph.json_edit import COLON, SPELT, Alone, Node, lifted, whole
from executor_worker.json_text import dumps, loads

FINISHED = frozenset({"completed", "failed"})
CANCELLED = "cancelled"
OUR_METADATA = frozenset(
    {"work_id", "entry", "delivery", "worker_id", "mode", "attempt", "duration_ms", "usage", "error_code"}
)
"""What one run writes of itself: gone when the next one does not say it."""


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class GraphState:
    """
    Attributes:
        status: "" if the document says none.
        outputs: Node → output, of the nodes that have one.
        has_nodes: There is an object of nodes, though maybe an empty one.
        behind_nodes: The member that comes next after the nodes; None if they are the last.
    """

    status: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Any] = field(default_factory=dict)
    graph: Any = None
    has_nodes: bool = False
    behind_nodes: str | None = None

    @classmethod
    def parse(cls, raw: bytes) -> GraphState:
        """
        Raises:
            StateInvalid: It is not JSON or has another shape.
        """
        try:
            document = loads(raw)
        except ValueError as error:
            raise StateInvalid(f"the state is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise StateInvalid("the state is not a JSON object")
        status = document.get("status")
        if status is not None and not isinstance(status, str):
            raise StateInvalid("the state's 'status' is not a string")
        nodes, inputs, graph = document.get("node_states"), document.get("inputs"), document.get("graph")
        has_nodes = type(nodes) is dict
        if type(nodes) is not dict:
            nodes = _object(document, "node_states")
        if type(inputs) is not dict:
            inputs = _object(document, "inputs")
        behind = _behind(document, "node_states") if has_nodes else None
        return cls(status or "", inputs, _outputs(nodes), nodes, graph, has_nodes, behind)

    @staticmethod
    def digest(raw: bytes) -> bytes:
        """SHA-1 of a document, as Redis computes it."""
        return hashlib.sha1(raw, usedforsecurity=False).hexdigest().encode()

    def metadata(self, node_id: str) -> dict[str, Any] | None:
        """Return what the node's last run wrote of itself; None if there is nothing."""
        entry = self.nodes.get(node_id)
        metadata = entry.get("metadata") if isinstance(entry, dict) else None
        return metadata if isinstance(metadata, dict) else None

    def finished(self, node_id: str) -> bool:
        """Tell whether the node has a result."""
        entry = self.nodes.get(node_id)
        status = entry.get("status") if isinstance(entry, dict) else None
        return isinstance(status, str) and status in FINISHED

    def finished_work_id(self, node_id: str) -> str | None:
        """The `id` of the item whose result the node holds; None if it has not finished."""
        if not self.finished(node_id):
            return None
        work_id = (self.metadata(node_id) or {}).get("work_id")
        return work_id if isinstance(work_id, str) else None

    def config_of(self, node_id: str) -> dict[str, Any] | None:
        """The node's `config` in the graph, whose `nodes` are an object by id or an array of nodes with ids."""
        nodes = self.graph.get("nodes") if isinstance(self.graph, dict) else None
        node = nodes.get(node_id) if isinstance(nodes, dict) else None
        if isinstance(nodes, list):
            named = (one for one in nodes if isinstance(one, dict) and node_id in (one.get("id"), one.get("node_id")))
            node = next(named, None)
        config = node.get("config") if isinstance(node, dict) else None
        return config if isinstance(config, dict) else None


def is_cancelled(raw: bytes) -> bool:
    """Tell whether a document says that its graph was cancelled."""
    try:
        return GraphState.parse(raw).status == CANCELLED
    except StateInvalid:
        return False


def splice_node(raw: bytes, node_id: str, entry: dict[str, Any], known: GraphState | None = None) -> bytes:
    """
    Lay *entry* into the document as the node's state.

    Of the node's own state, members not in *entry* stay, in its metadata those that no run of ours writes.

    Args:
        known: What the document says, if that was read already.

    Raises:
        StateInvalid: The document is not JSON or has another shape.
        ValueError: *entry* holds what is no JSON value.
    """
    known = known or GraphState.parse(raw)
    if node_id not in known.nodes:
        text = raw.decode("utf-8")
        at = _room_in(text, "node_states", known.behind_nodes) if known.has_nodes else None
        if at is not None:
            comma = "," if known.nodes else ""
            return f"{text[:at]}{comma}{dumps({node_id: entry}).decode()[1:-1]}{text[at:]}".encode()
    root = _taken_apart(raw, node_id, known)
    return _text(root.rendered({"node_states": _nodes_with(root, node_id, entry)}), root)


def _room_in(text: str, name: str, behind: str | None = None) -> int | None:
    """
    Find where another member may be put into the object that is the member *name*: right behind its last one.

    That is the last thing which looks like the name, if from there on all can be read: an object, and what comes up to
    the end of the one around it. Inside another object there would be one end too many.

    Args:
        text: Known to be an object in which *name* is an object.
        behind: What the next member is called; None: there is none.

    Returns:
        None if that takes a closer look.
    """
    quoted = f'"{name}"'
    at = text.rfind(quoted)
    colon = COLON.match(text, at + len(quoted)) if at > 0 and text[at - 1] != "\\" else None
    if colon is None or text[colon.end() : colon.end() + 1] != "{":
        return None
    value = colon.end()
    if behind is None:
        found = _to_the_end(text, value)
    else:
        found = _up_to(text, value, behind)
        if found is None or not _are_members(text[text.index(",", found[1]) + 1 :]):
            return None
    return len(text[: found[1] - 1].rstrip(" \t\n\r")) if found is not None else None


def _are_members(text: str) -> bool:
    """Tell whether *text* is what is left of an object from a member on; none may be spelt like another."""
    try:
        return bool(orjson.loads(f"{{{text}")) and SPELT.search(text) is None
    except orjson.JSONDecodeError:
        return False


def _to_the_end(text: str, start: int) -> tuple[dict[str, Any], int] | None:
    """The object at *start*, if nothing but the end of the one around it follows."""
    value = text[start : text.rindex("}")].rstrip(" \t\n\r")
    try:
        return orjson.loads(value), start + len(value)
    except orjson.JSONDecodeError:
        return None


def _up_to(text: str, start: int, behind: str | None) -> tuple[dict[str, Any], int] | None:
    """
    The object at *start*, and where it ends, if that is right before the last thing that looks like the name *behind*.

    Twice as fast as a decoder that says where a value ends: no part of an object is one, so what can be read is all
    of it.
    """
    end = text.rfind(f'"{behind}"', start) if behind is not None else -1
    comma = text.rfind(",", start, end) if end >= 0 else -1
    if comma < 0:
        return None
    value = text[start:comma].rstrip(" \t\n\r")
    try:
        return orjson.loads(value), start + len(value)
    except orjson.JSONDecodeError:
        return None


def requeue_node(raw: bytes, node_id: str) -> bytes:
    """
    Set the node pending and forget which item it was run for; a graph that failed with it runs again.

    A node the document does not know stays unknown.

    Raises:
        StateInvalid: The document is not JSON or has another shape.
    """
    state = GraphState.parse(raw)
    own = state.nodes.get(node_id)
    if not isinstance(own, dict):
        return raw
    blank = {name: None for name in ("output", "error", "started_at", "completed_at") if name in own}
    root = _taken_apart(raw, node_id, state)
    changes = {"node_states": _nodes_with(root, node_id, {"status": "pending", **blank, "metadata": {}})}
    if state.status == "failed" and own.get("status") == "failed":
        changes["status"] = '"running"'
    return _text(root.rendered(changes), root)


def new_document(graph_id: str, inputs: dict[str, Any], node_id: str, entry: dict[str, Any]) -> bytes:
    """Make the document of a graph that has none yet."""
    return dumps(
        {
            "graph_id": graph_id,
            "graph": {},
            "status": "running",
            "inputs": inputs,
            "node_states": {node_id: entry},
            "submitted_at": entry.get("started_at") or rfc3339(0),
        }
    )


def _taken_apart(raw: bytes, node_id: str, known: GraphState) -> Node:
    text, paths = raw.decode("utf-8"), Alone({node_id: {"metadata": {}}})
    read = lambda text, start: _up_to(text, start, known.behind_nodes)  # noqa: E731
    root = lifted(text, "node_states", paths, read) if known.nodes else None
    if root is not None:
        return root
    try:
        root = whole(text, {"node_states": paths})
    except ValueError as error:
        raise StateInvalid(f"the state is not a JSON object: {error}") from None
    nodes = root.get("node_states")
    if nodes is not None and nodes.child is None and root.text[nodes.value_start : nodes.end] != "null":
        raise StateInvalid("the state's 'node_states' is not an object")
    return root


def _nodes_with(root: Node, node_id: str, entry: dict[str, Any]) -> str:
    """The text of `node_states` with *entry* laid into it."""
    nodes = root.child("node_states") or Node("{}", 0, 2)
    old = nodes.child(node_id)
    if old is None:
        return nodes.rendered({node_id: dumps(entry).decode()})
    old_metadata = old.child("metadata") or Node("{}", 0, 2)
    texts = {name: dumps(value).decode() for name, value in entry.items() if name != "metadata"}
    facts = {name: dumps(value).decode() for name, value in entry["metadata"].items()}
    texts["metadata"] = old_metadata.rendered(facts, OUR_METADATA - facts.keys())
    return nodes.rendered({node_id: old.rendered(texts)})


def _text(rendered: str, root: Node) -> bytes:
    return (root.text[: root.start] + rendered + root.text[root.end :]).encode()


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise StateInvalid(f"the state's {key!r} is not an object")
    return value


def _behind(document: dict[str, Any], key: str) -> str | None:
    names = iter(document)
    return next(names, None) if key in names else None


def _outputs(nodes: dict[str, Any]) -> dict[str, Any]:
    return {
        node_id: entry["output"]
        for node_id, entry in nodes.items()
        if isinstance(entry, dict)
        and "output" in entry
        and (entry["output"] is not None or entry.get("status") == "completed")
    }
