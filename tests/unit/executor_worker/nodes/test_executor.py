"""The executor makes everything that can happen to a node an outcome."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from executor_worker.errors import Abandoned, ConfigError, Overdue
from executor_worker.nodes.executor import Executor, Task
from executor_worker.outcome import Completed, Failed
from executor_worker.providers.base import ModelReply, ModelRequest
from executor_worker.run_context import RunContext
from tests.unit.executor_worker.nodes.conftest import execute
from tests.unit.executor_worker.nodes.doubles import Box, FunctionTool, ScriptedModel, SeenRunContext, call, reply

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "tool_name", "tool_params", "parameters", "extract_params", "llm_config", "model", "prompt", "system", "task",
    "tools", "max_iterations", "on_limit", "budget", "on_uncertain", "timeout", "temperature", "max_tokens",
)  # fmt: skip


@pytest.mark.parametrize(
    "error", [RuntimeError("secret prompt"), RecursionError(), MemoryError(), SystemExit(1), KeyboardInterrupt()]
)
def test_unexpected_error_is_internal_and_keeps_quiet(error: BaseException) -> None:
    """The type is told, the place is logged, what it said is in neither."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="ERROR")
    try:
        outcome = execute({"prompt": "p"}, model=ScriptedModel(error))
    finally:
        logger.remove(sink)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.mode) == ("internal", "llm")
    assert type(error).__name__ in outcome.error
    assert "secret" not in outcome.error
    assert lines == ["node.broke"]


@pytest.mark.parametrize("error", [Abandoned("give back"), Overdue("late")])
def test_interruption_is_no_outcome(error: BaseException) -> None:
    """It goes to whoever interrupted."""
    with pytest.raises(type(error)):
        execute({"prompt": "p"}, model=ScriptedModel(error))


def test_tool_node_never_makes_a_model_client() -> None:
    """The adapter is made when a model is first called."""

    class NoModels:
        def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
            raise ConfigError("LLM_API_KEY", "is missing.", "Set it.")

    executor = Executor(models=NoModels(), tools=Box((FunctionTool("t"),)), default_model="m")
    assert isinstance(executor.execute(Task("g", "n", "", {"tool_name": "t"}, {}, {}), SeenRunContext()), Completed)
    failed = executor.execute(Task("g", "n", "", {"prompt": "p"}, {}, {}), SeenRunContext())
    assert isinstance(failed, Failed)
    assert (failed.code, failed.error) == ("internal", "LLM_API_KEY: is missing. Set it.")


def test_nodes_own_timeout_moves_the_deadline_nearer() -> None:
    """Never farther."""
    near, far = SeenRunContext(seconds=100), SeenRunContext(seconds=100)
    execute({"tool_name": "t", "timeout": 5}, tools=(FunctionTool("t"),), run_context=near)
    execute({"tool_name": "t", "timeout": 500}, tools=(FunctionTool("t"),), run_context=far)
    assert (near.deadline, far.deadline) == (5, 100)


def test_mode_is_told_where_the_config_is_wrong() -> None:
    """The mode is known before the fields are looked at."""
    outcome = execute({"prompt": "p", "tools": ["a"], "max_iterations": "x"})
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.mode) == ("invalid_node", "agent")


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["t", ["t"], "{{x}}", {"prompt": "p"}]), max_size=6)
)
def test_any_config_has_an_outcome(config: dict[str, Any]) -> None:
    """Whatever an author writes, nothing is raised and nothing is `internal`."""
    model = ScriptedModel(reply("", call("t", {})), reply("a"), reply("b"), reply("c"))
    outcome = execute(config, model=model, tools=(FunctionTool("t"),), inputs={"x": 1})
    assert isinstance(outcome, Completed) or outcome.code != "internal"


def preview(config: dict[str, Any], *, tools: tuple[FunctionTool, ...] = ()) -> dict[str, Any]:
    executor = Executor(models=ScriptedModel(), tools=Box(tools), default_model="model-1", max_iterations=10)
    return executor.preview(Task("g", "n", "", config, {"x": "whale", "n": 3}, {}))


def test_preview_shows_what_would_be_sent_and_sends_nothing() -> None:
    """All three modes, rendered and validated."""
    tool = FunctionTool("t")
    assert preview({"llm_config": {"prompt": "a {{x}}", "system": "s {{n}}"}}) == {
        "valid": True, "mode": "llm", "model": "model-1", "system": "s 3", "prompt": "a whale",
    }  # fmt: skip
    assert preview({"tool_name": "t", "tool_params": {"a": "{{n}}"}}, tools=(tool,)) == {
        "valid": True, "mode": "tool", "tool_name": "t", "tool_source": "double", "tool_params": {"a": 3},
    }  # fmt: skip
    assert preview({"llm_config": {}, "task": "do {{x}}", "tools": ["*"], "max_iterations": 2}, tools=(tool,)) == {
        "valid": True, "mode": "agent", "model": "model-1", "prompt": "do whale", "tools": ["t"], "max_iterations": 2,
        "on_limit": "fail",
    }  # fmt: skip
    shown = preview({"tool_name": "t", "extract_params": {"from": "{{x}}"}}, tools=(tool,))
    assert shown["extract_params"]["prompt"] == "whale"
    assert tool.calls == []


def test_preview_says_why_a_node_can_not_be_run() -> None:
    """With the code it would fail with."""
    shown = preview({"tool_name": "nope"})
    assert (shown["valid"], shown["mode"], shown["error_code"]) == (False, "tool", "unknown_tool")
    assert "nope" in shown["error"]
