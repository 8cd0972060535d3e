"""Graphs that were found to be right are not checked again."""

from __future__ import annotations

from typing import Any

from executor_worker.graph.validation import Report, check
from orchestrator.service import known_graphs
from orchestrator.service.known_graphs import KnownGraphs


class Checks:
    """Checks graphs, and counts how often."""

    def __init__(self) -> None:
        self.done = 0
        self.known = KnownGraphs()

    def ask(self, graph: Any, *names: str, bounded: bool = False) -> known_graphs.Checked:
        def work() -> Report:
            self.done += 1
            return check(graph, inputs=dict.fromkeys(names, 1))

        return self.known.checked(graph, names, bounded, work)


def graph(name: str = "g", text: str = "{{x}}") -> dict[str, Any]:
    config = {"tool_name": "noop", "tool_params": {"text": text}}
    return {"name": name, "nodes": {"a": {"type": "tool", "config": config}}}


def test_the_same_graph_is_checked_once() -> None:
    """With inputs of the same names, however it was written; its plan is made once too."""
    checks = Checks()
    first = checks.ask(graph(), "x")
    assert checks.ask(graph(), "x") is first and checks.done == 1
    assert first.stored is first.stored and first.stored.plan.roots == ("a",)


def test_what_a_check_depends_on_is_looked_at() -> None:
    """Other inputs, another limit, another graph."""
    checks = Checks()
    assert checks.ask(graph(), "x").report.valid
    assert not checks.ask(graph(), "y").report.valid
    checks.ask(graph(), "x", bounded=True)
    checks.ask(graph(text="{{x}}!"), "x")
    assert checks.done == 4


def test_what_is_wrong_is_told_each_time() -> None:
    """It is not kept."""
    checks = Checks()
    for _ in range(2):
        assert not checks.ask(graph(), "y").report.valid
    assert checks.done == 2


def test_no_more_is_kept_than_fits() -> None:
    """The ones used last; large ones not at all."""
    checks = Checks()
    large = graph(text="x" * known_graphs.MOST_BYTES)
    for _ in range(2):
        checks.ask(large)
    assert checks.done == 2
    some = [graph(f"g{at}", "x" * 8000) for at in range(40)]
    for one in some:
        checks.ask(one)
        checks.ask(some[0])
    assert checks.done == 42
    checks.ask(some[1])
    assert checks.done == 43
