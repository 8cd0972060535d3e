"""The context that every mode needs to run a node."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.errors import ToolUnavailable
from executor_worker.nodes.context_budget import ContextBudget
from executor_worker.nodes.journal import Journal
from executor_worker.nodes.steps import Steps
from executor_worker.nodes.templates import Scope
from executor_worker.providers.prices import Prices
from executor_worker.run_context import RunContext
from executor_worker.tools.base import Tool, Toolbox


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class Context:
    """
    Attributes:
        scope: The names its templates can use.
        shown: Is told what watchers are to see.
        model: Used if the node names none.
        max_iterations: Model calls of an agent that names no limit.
        watch: The run's time; an agent keeps some of it back for its ending.
    """

    scope: Scope
    steps: Steps
    shown: Journal
    tools: Toolbox
    model: str
    max_iterations: int
    run_context: RunContext
    prices: Prices
    room: ContextBudget

    def find_tool(self, name: str) -> Tool:
        """
        Look a tool up, unless the server that may have it is held back.

        Raises:
            UnknownTool: No tool has that name.
            ToolUnavailable: It may belong to a server that was never reached.
            Parked: That server is held back.
        """
        unreached = self.tools.unreached(name)
        if unreached:
            self.run_context.admit_tool(unreached)
        try:
            return self.tools.find(name)
        except ToolUnavailable as error:
            self.run_context.tool_unanswered(self.tools.unreached(name), error)
            raise
