"""Render a run's own output: templates over what its nodes have made."""

from __future__ import annotations

from typing import Any

from executor_worker.graph.judging import Seen
from executor_worker.graph.mappings import filled
from executor_worker.nodes.templates import Scope


def rendered(template: Any, seen: Seen) -> tuple[Any, dict[str, str]]:
    """
    Render a graph's `output` as far as that goes; see `filled`.

    All its parts have one scope: it is made once, and what they have in all is bounded.
    """
    outputs = {name: one.output for name, one in seen.past.items()}
    scope = Scope(dict(seen.inputs), outputs, further={"state": seen.state()}, absent=seen.absent())
    return filled(template, lambda part: scope.tried(part, "output"))
