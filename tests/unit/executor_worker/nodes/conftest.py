"""Run one node on doubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.nodes.context_budget import ContextBudget
from executor_worker.nodes.executor import Executor, Task
from executor_worker.nodes.journal import Journal
from executor_worker.outcome import Completed, Failed, Outcome
from executor_worker.providers.prices import Prices
from executor_worker.run_context import RunContext
from tests.unit.executor_worker.nodes.doubles import Box, FunctionTool, ScriptedModel, SeenRunContext

Run = Callable[..., Outcome]


def execute(
    config: Any,
    *,
    model: ScriptedModel | None = None,
    tools: tuple[FunctionTool, ...] | Box = (),
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    run_context: RunContext | None = None,
    max_iterations: int = 10,
    journal: Journal | None = None,
    prices: Prices | None = None,
    default_model: str = "model-1",
    room: ContextBudget | None = None,
) -> Outcome:
    """Execute *config* as one node, on what is given."""
    box = tools if isinstance(tools, Box) else Box(tools)
    executor = Executor(
        models=model or ScriptedModel(),
        tools=box,
        default_model=default_model,
        max_iterations=max_iterations,
        prices=prices,
        room=room,
    )
    return executor.execute(
        Task("g", "n", "hint", config, inputs or {}, outputs or {}), run_context or SeenRunContext(), journal
    )


@pytest.fixture
def completed() -> Callable[..., Completed]:
    """Execute a node that has to complete."""

    def run(config: Any, **given: Any) -> Completed:
        outcome = execute(config, **given)
        assert isinstance(outcome, Completed), outcome
        return outcome

    return run


@pytest.fixture
def failed() -> Callable[..., Failed]:
    """Execute a node that has to fail."""

    def run(config: Any, **given: Any) -> Failed:
        outcome = execute(config, **given)
        assert isinstance(outcome, Failed), outcome
        return outcome

    return run
