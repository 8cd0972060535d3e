"""Graphs that tests submit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Graph = dict[str, Any]


def doubling(name: str = "doubling") -> Graph:
    """Three nodes: twice the input `x`."""
    calculate = {"tool_name": "calculate", "tool_params": {"expression": "{{x}} * 2"}}
    return {
        "name": name,
        "nodes": {"first": {"type": "start"}, "twice": {"type": "tool", "config": calculate}, "last": {"type": "end"}},
        "edges": [{"from": "first", "to": "twice"}, {"from": "twice", "to": "last"}],
        "output": "{{twice}}",
    }


def waiting(gate: str) -> Graph:
    """One node, which takes its worker until the file *gate* is there."""
    return {
        "nodes": {"wait": {"type": "tool", "config": {"tool_name": "wait_for_file", "tool_params": {"path": gate}}}}
    }


def chain(length: int) -> Graph:
    """Nodes one after the other, each of which takes a worker."""
    names = [f"n{number}" for number in range(length)]
    config = {"tool_name": "calculate", "tool_params": {"expression": "1 + 1"}}
    edges = [{"from": one, "to": other} for one, other in pairwise(names)]
    return {"nodes": {name: {"type": "tool", "config": config} for name in names}, "edges": edges}
