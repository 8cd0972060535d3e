"""Graph states: whatever else is in a document keeps its value exactly."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.fuzz.material import Material, Pairs, as_written
from executor_worker.errors import StateInvalid
from executor_worker.graph.state import GraphState, splice_node
from executor_worker.json_text import dumps

NODES = ("n", "m", 'q"', "é", "a.b", "")
STATUSES = ("submitted", "pending", "running", "running", "completed", "failed", "cancelled", "odd", "")


def document(material: Material) -> bytes:
    """A graph's state as orchestrators write it, with odd members, or something near to it."""
    random = material.random
    nodes: Any = {random.choice(NODES): _node(material) for _ in range(random.randrange(4))}
    if material.chance(0.1):
        nodes = material.raw()
    whole: dict[str, Any] = {
        "graph_id": "g",
        "graph": material.raw(),
        "status": random.choice(STATUSES),
        "inputs": {material.text(): material.raw() for _ in range(random.randrange(3))},
        "node_states": nodes,
        material.text(): material.raw(),
    }
    if material.chance(0.15):
        whole = {key: value for key, value in whole.items() if material.chance(0.7)}
    data = material.written(whole)
    return material.mangled(data) if material.chance(0.25) else data


def _node(material: Material) -> Any:
    if material.chance(0.15):
        return material.raw()
    metadata: Any = {"work_id": "w", material.text(): material.raw()}
    return {
        "status": material.random.choice(STATUSES),
        "output": material.raw(),
        "metadata": metadata if material.chance(0.8) else material.raw(),
        material.text(): material.raw(),
    }


def entry(material: Material) -> dict[str, Any]:
    """A node's entry as a run writes it."""
    return {
        "node_id": "n",
        "status": "completed",
        "output": material.value(),
        "error": None,
        "metadata": {"entry": "1-1", "delivery": 1},
    }


def case(material: Material) -> str:
    """Lay a node's entry into a document."""
    raw, node, mine = document(material), material.random.choice(NODES), entry(material)
    try:
        parsed: GraphState | None = GraphState.parse(raw)
    except StateInvalid:
        parsed = None
    try:
        spliced = splice_node(raw, node, mine)
    except StateInvalid:
        assert parsed is None or deep(raw), f"read, but not written: {raw!r}"
        return "refused"
    except ValueError:
        assert not writable(mine), f"{mine!r} is JSON"
        return "entry refused"
    check(raw, spliced, node, mine)
    if parsed is not None:
        GraphState.parse(spliced)
    return "kept"


def check(before: bytes, after: bytes, node: str, mine: dict[str, Any]) -> None:
    """Everything but the node's own entry is what it was, byte for byte in its numbers and in its order."""
    old, new = as_written(before), as_written(after)
    assert isinstance(new, Pairs), "it stays an object"
    old_nodes, new_nodes = last(old, "node_states"), last(new, "node_states")
    assert same(without(old, "node_states"), without(new, "node_states")), "something beside the nodes has changed"
    assert same(without(old_nodes, node), without(new_nodes, node)), "another node has changed"
    kept, own = last(old_nodes, node), last(new_nodes, node)
    for name, value in mine.items():
        if name != "metadata":
            assert same(last(own, name), as_written(dumps(value))), f"{name} is not what was written"
    if isinstance(kept, Pairs):
        theirs = ([one for one in pairs if one[0] not in mine] for pairs in (kept, own))
        assert same(*theirs), "a member that is not ours went"


def last(pairs: Any, name: str) -> Any:
    """The member that readers see."""
    return next((value for key, value in reversed(pairs) if key == name), None) if isinstance(pairs, Pairs) else None


def without(pairs: Any, name: str) -> Any:
    """All but the member that readers see."""
    if not isinstance(pairs, Pairs):
        return []
    seen = max((index for index, (key, _) in enumerate(pairs) if key == name), default=None)
    return [one for index, one in enumerate(pairs) if index != seen]


def same(one: Any, other: Any) -> bool:
    """Compare what `as_written` has read, however deep."""
    left = [(one, other)]
    while left:
        one, other = left.pop()
        if isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
            left += zip(one, other, strict=True)
        elif isinstance(one, list | tuple) or type(one) is not type(other) or one != other:
            return False
    return True


def deep(raw: bytes) -> bool:
    """So deeply nested that reading and writing may differ."""
    return raw.count(b"[") + raw.count(b"{") > 150


def writable(value: Any) -> bool:
    """Tell whether a value has a form in JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
