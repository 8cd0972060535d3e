"""
Judging a node's end: which edges are taken, evaluated over values that do not change any more.

Scripts count, and evaluate nothing; see `graph/advance.py` for what they do with these answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor_worker.graph import router, router_config
from executor_worker.graph.conditions import Condition, ConditionError
from executor_worker.graph.plan import NodePlan, Way
from executor_worker.graph.problems import Problems
from executor_worker.graph.scopes import NodeEnd, condition_scope, state_of

ALL, NONE, DEAD = "*", "-", "x"


@dataclass(slots=True)  # not frozen: one is made for every node, which takes thrice as long then
class Seen:
    """
    The scope of a node's templates, conditions and rules: what they may see.

    Attributes:
        past: Of the nodes it names.
    """

    graph_id: str
    inputs: Mapping[str, Any]
    past: Mapping[str, NodeEnd]

    def absent(self) -> list[str]:
        """Answer the nodes that have not completed."""
        return [name for name, end in self.past.items() if end.status != "completed"]

    def rules(self) -> dict[str, Any]:
        """Answer what a router's rules are evaluated over."""
        return condition_scope(self.inputs, self.past, self.graph_id)

    def edges(self, node: str, end: NodeEnd) -> dict[str, Any]:
        """Answer what the conditions of *node*'s edges are evaluated over, now that it has ended."""
        return condition_scope(self.inputs, {**self.past, node: end}, self.graph_id, end.output)

    def state(self) -> dict[str, Any]:
        """Answer what templates call `state`."""
        return state_of(self.inputs, self.past, self.graph_id)


@dataclass(frozen=True, slots=True)
class EdgeError:
    """A condition or a rule that raised: it counts as not true, and the log tells."""

    target: str
    condition: str
    error: str

    def as_json(self) -> dict[str, str]:
        return {"target": self.target, "condition": self.condition, "error": self.error}


@dataclass(slots=True)
class Judgement:
    """
    The end of a node, as far as scripts need to know.

    Attributes:
        took: "*" all its edges were taken, "-" none, else "1" or "0" for each.
    """

    status: str
    took: str
    output: Any = None
    error: str | None = None
    code: str | None = None
    errors: list[EdgeError] = field(default_factory=list)


def edges_taken(
    plan: NodePlan, node: str, status: str, output: Any, seen: Seen, error: str | None = None
) -> tuple[str, list[EdgeError]]:
    """Decide the outgoing edges of a node that has ended as *status*; a failed one's that is handled."""
    if not plan.out or status not in ("completed", "failed"):
        return NONE, []
    wanted = ("success", "always") if status == "completed" else ("failure", "always")
    chosen = output.get("target") if plan.type == "router" and isinstance(output, dict) else None
    errors: list[EdgeError] = []
    scope: dict[str, Any] | None = None
    marks = []
    for way in plan.out:
        taken = way.on in wanted and (plan.type != "router" or status != "completed" or way.target == chosen)
        if taken and way.condition is not None:
            if scope is None:
                scope = seen.edges(node, NodeEnd(status, output if status == "completed" else None, error or ""))
            taken = _holds(way, scope, errors)
        marks.append("1" if taken else "0")
    return _packed("".join(marks)), errors


def _holds(way: Way, scope: Mapping[str, Any], errors: list[EdgeError]) -> bool:
    assert way.condition is not None
    try:
        return Condition.compile(way.condition).holds(scope)
    except ConditionError as error:
        errors.append(EdgeError(way.target, way.condition, str(error)))
        return False


def _packed(marks: str) -> str:
    if "0" not in marks:
        return ALL
    return NONE if "1" not in marks else marks


def judge(plan: NodePlan, node: str, seen: Seen, led: Any = None) -> Judgement:
    """
    Decide a node that needs no worker: a deterministic router, a start or an end with conditions behind it.

    Args:
        led: An end's output: what has led to it.
    """
    if plan.type != "router":
        output = dict(seen.inputs) if plan.type == "start" else led
        took, errors = edges_taken(plan, node, "completed", output, seen)
        return Judgement("completed", took, output, errors=errors)
    decided = router.decide(router_config.read(plan.config, None, Problems()), seen.rules())
    raised = [EdgeError(each.rule.target, each.rule.condition, each.message) for each in decided.errors]
    if isinstance(decided, router.Decision):
        output = decided.output()
        took, errors = edges_taken(plan, node, "completed", output, seen)
        return Judgement("completed", took, output, errors=raised + errors)
    reason = decided.reason if isinstance(decided, router.NoRoute) else "it has no model to ask"
    error = f"the router has no way to go: {reason}"
    took, errors = edges_taken(plan, node, "failed", None, seen, error)
    return Judgement("failed", took, None, error, "no_route", raised + errors)
