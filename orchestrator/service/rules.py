"""Rules that the orchestrator takes from the side that runs nodes: handed in, since it knows nothing of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from executor_worker.graph.judging import Seen


class Renders(Protocol):
    """
    Puts inputs and outputs into a template.

    Answers why parts of it could not be made, too, by their places: those are null.
    """

    def __call__(self, template: Any, seen: Seen) -> tuple[Any, dict[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Attributes:
        render: Renders a graph's output, and a node's config.
        config: Raises `NodeError` for a config that no worker can run.
        retired: Says when a model ends; None if that is unknown.
    """

    render: Renders
    config: Callable[[dict[str, Any]], object]
    retired: Callable[[str], str | None] = lambda model: None
