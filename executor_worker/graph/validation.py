"""
Everything that is wrong with a graph, all at once, before anything runs; and what is only odd.

The answer takes less than a second whatever the document: what is too large is told and looked at no further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from executor_worker.graph.checks import advice, names, routers, sizes, structure, work
from executor_worker.graph.checks.subject import ConfigRules, Retired, Subject
from executor_worker.graph.definition import LocatedGraph
from executor_worker.graph.problems import Problem, Problems

__all__ = ["ConfigRules", "Limits", "Report", "Retired", "check"]

Limits = sizes.Limits


@dataclass(frozen=True, slots=True)
class Report:
    """
    The report of a check.

    Attributes:
        order: Ids that can run together, level by level; of a graph with circles what comes before them.
        circles: Closed paths: the last id is the first again.
        located: The graph as it was read; None if it was too large to be looked at.
    """

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    circles: tuple[tuple[str, ...], ...] = ()
    located: LocatedGraph | None = field(default=None, repr=False)

    @property
    def valid(self) -> bool:
        """Tell whether the graph can run."""
        return not self.errors

    def under(self, prefix: str) -> Report:
        """Answer the same report with pointers from the root of a document in which the graph stands at *prefix*."""
        moved = [tuple(problem.under(prefix) for problem in told) for told in (self.errors, self.warnings)]
        return replace(self, errors=moved[0], warnings=moved[1])

    def as_dict(self) -> dict[str, Any]:
        """Answer the report as the wire has it."""
        return {
            "valid": self.valid,
            "errors": [problem.as_dict() for problem in self.errors],
            "warnings": [problem.as_dict() for problem in self.warnings],
            "order": [list(level) for level in self.order],
        }


def check(
    document: Any,
    limits: Limits | None = None,
    *,
    offered_tools: frozenset[str] | None = None,
    retired: Retired | None = None,
    config_rules: ConfigRules | None = None,
    inputs: Mapping[str, Any] | None = None,
    bounded: bool = False,
) -> Report:
    """
    Check a graph.

    Args:
        document: As it was read from JSON or YAML.
        offered_tools: What live workers offer; None: unknown.
        retired: Says in a sentence that a model is retired, None if it is not.
        config_rules: Raises `NodeError` if the config of a node that works can't be run.
        inputs: The run's; None: not known yet, so that any name may be an input.
        bounded: The run has a timeout or budget of its own.
    """
    errors, warnings = Problems(), Problems()
    if not sizes.fits(document, limits or Limits(), errors):
        return Report(tuple(errors))
    located = LocatedGraph.read(document, errors)
    subject = Subject.of(located, errors, warnings, inputs)
    for checks in _CHECKS:
        checks(subject)
    work.check_configs(subject, config_rules)
    advice.check_circumstances(subject, offered_tools, retired)
    advice.check_limits(subject, bounded)
    order, circles = subject.past.levels, tuple((*circle, circle[0]) for circle in subject.past.circles)
    return Report(tuple(errors), tuple(warnings), order, circles, located)


_CHECKS: tuple[Callable[[Subject], None], ...] = (
    structure.check_nodes,
    structure.check_edges,
    structure.check_circles,
    structure.check_entry,
    structure.check_reach,
    work.check_types,
    work.check_queues,
    work.check_retries,
    routers.check,
    names.check_conditions,
    names.check_templates,
    advice.check_names,
    advice.check_failures,
    advice.check_joins,
    advice.check_edges,
    advice.check_chains,
)
