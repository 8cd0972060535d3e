"""Render a run's own output: templates over what its nodes have made."""

from __future__ import annotations

from typing import Any

from executor_worker.graph.judging import Seen
from executor_worker.nodes.templates import Scope


def rendered(template: Any, seen: Seen) -> Any:
    """
    Render a graph's `output`.

    Raises:
        TemplateError: It names what there is not.
    """
    outputs = {name: one.output for name, one in seen.past.items()}
    scope = Scope(dict(seen.inputs), outputs, further={"state": seen.state()}, absent=seen.absent())
    return scope.value(template, "output")
