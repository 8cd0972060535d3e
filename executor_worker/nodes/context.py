"""What every mode needs to run a node."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.nodes.steps import Steps
from executor_worker.templating import Scope
from executor_worker.tools.base import Toolbox


@dataclass(frozen=True, slots=True)
class Context:
    """
    Attributes:
        scope: The names its templates can use.
        model: Used where the node names none.
        max_iterations: Model calls of an agent that names no limit.
    """

    scope: Scope
    steps: Steps
    tools: Toolbox
    model: str
    max_iterations: int
