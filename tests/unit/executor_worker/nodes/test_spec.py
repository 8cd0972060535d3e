"""Every dialect of a node's config is read, and what is wrong with one is named."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.errors import InvalidNode
from executor_worker.nodes.spec import AgentNode, Extract, LlmNode, ModelSpec, ToolNode, mode_of, read

LLM = {"llm_config": {"prompt": "p"}}


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"tool_name": "t"}, "tool"),
        ({"tool_name": "t", "tools": ["x"], **LLM}, "tool"),
        ({}, "tool"),
        ({"tools": ["x"]}, "tool"),
        ({"task": "do", "tools": ["x"], "type": "agent"}, "tool"),
        ({"tools": ["x"], **LLM}, "agent"),
        ({"tools": ["x"], "llm_config": {}}, "agent"),
        ({"tools": ["x"], "system": "s"}, "agent"),
        ({"tools": [], **LLM}, "llm"),
        ({"type": "tool", "tool_name": "", **LLM}, "llm"),
        ({"tool_name": None, "prompt": "p"}, "llm"),
    ],
)
def test_mode_is_chosen_in_the_order_of_the_contract(config: dict[str, Any], mode: str) -> None:
    """`tool_name`, then no model, then tools; `type` is a hint only."""
    assert mode_of(config) == mode


@pytest.mark.parametrize(
    "config",
    [
        {"llm_config": {"model": "m", "prompt": "p", "system": "s", "temperature": 0.5, "max_tokens": 9}},
        {"model": "m", "prompt": "p", "system_prompt": "s", "temperature": 0.5, "max_tokens": 9},
        {"model": "m", "prompt": "p", "system": "s", "temperature": 0.5, "max_tokens": 9.0},
        {"llm_config": {"model": "m", "prompt": "p"}, "system": "s", "temperature": 0.5, "max_tokens": 9},
        {
            "llm_config": {"model": "m", "prompt": "p", "system_prompt": "s", "temperature": 0.5, "max_tokens": 9},
            "system": "another",
            "prompt": "another",
            "unknown": object(),
        },
    ],
)
def test_all_dialects_of_a_models_settings_are_one(config: dict[str, Any]) -> None:
    """What stands in `llm_config` wins over the top level."""
    assert read(config) == LlmNode(ModelSpec("m", "p", "s", 0.5, 9), "p")


def test_tool_node_takes_parameters_under_both_names() -> None:
    """`tool_params` wins; none at all is an empty object."""
    assert read({"tool_name": "t", "parameters": {"a": 1}}) == ToolNode("t", {"a": 1}, "parameters")
    assert read({"tool_name": "t", "tool_params": {"b": 2}, "parameters": {"a": 1}}) == ToolNode("t", {"b": 2})
    assert read({"tool_name": "t", "tool_params": None, "timeout": 2}) == ToolNode("t", timeout=2.0)


def test_extraction_takes_the_nodes_own_model_where_it_names_none() -> None:
    """`extract_params.llm_config` is optional."""
    node = read(
        {"tool_name": "t", "extract_params": {"from": "{{x}}", "llm_config": {"model": "small"}}, "model": "big"}
    )
    assert isinstance(node, ToolNode)
    assert node.extract == Extract("{{x}}", ModelSpec(model="small"))
    node = read({"tool_name": "t", "extract_params": {"from": "{{x}}"}, "model": "big"})
    assert isinstance(node, ToolNode)
    assert node.extract == Extract("{{x}}", ModelSpec(model="big"))


def test_agent_node_has_its_limits() -> None:
    """Every field of the contract is read; names given twice count once."""
    config = {
        "llm_config": {"model": "m"},
        "task": "do {{x}}",
        "tools": ["a", "b", "a"],
        "max_iterations": 3,
        "on_limit": "finalize",
        "budget": {"total_tokens": 500, "money": "?"},
        "on_uncertain": "fail",
        "timeout": 60,
    }
    assert read(config) == AgentNode(
        ModelSpec(model="m"), (("task", "do {{x}}"),), ("a", "b"), 3, "finalize", 500, "fail", 60.0
    )


def test_agents_prompt_is_its_task_or_comes_before_it() -> None:
    """`prompt` belongs to what an agent shares with an llm node; it is not lost."""
    node = read({"prompt": "P", "tools": "*"})
    assert isinstance(node, AgentNode)
    assert (node.task, node.tools) == ((("llm_config.prompt", "P"),), ("*",))
    node = read({"prompt": "P", "task": "T", "tools": ["*"]})
    assert isinstance(node, AgentNode)
    assert [text for _, text in node.task] == ["P", "T"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("text", 'config must be an object, found the text "text"'),
        ({}, "tool_name required"),
        ({"task": "t", "tools": ["a"]}, "tool_name required, for there is no llm_config; if an agent is meant"),
        ({"budget": {"usd": 1}}, "tool_name required, for there is no llm_config; if an agent is meant ('budget'"),
        ({"tool_name": 5}, "tool_name must be a text, found 5"),
        ({"tool_name": "t", "tool_params": []}, "tool_params must be an object, found a list"),
        ({"tool_name": "t", "parameters": "{}"}, 'parameters must be an object, found the text "{}"'),
        ({"tool_name": "t", "extract_params": "x"}, 'extract_params must be an object, found the text "x"'),
        ({"tool_name": "t", "extract_params": {}}, "extract_params.from required"),
        ({"tool_name": "t", "extract_params": {"from": {}}}, "extract_params.from must be a text, found an object"),
        (
            {"tool_name": "t", "extract_params": {"from": "x", "llm_config": {"model": 1}}},
            "extract_params.llm_config.model must be a text, found 1",
        ),
        ({"tool_name": "t", "timeout": "soon"}, 'timeout must be a number, found the text "soon"'),
        ({"tool_name": "t", "timeout": 0}, "timeout must be more than 0, found 0"),
        ({"tool_name": "t", "timeout": True}, "timeout must be a number, found true"),
        ({"llm_config": "gpt"}, 'llm_config must be an object, found the text "gpt"'),
        ({"llm_config": {"prompt": ["a"]}}, "llm_config.prompt must be a text, found a list"),
        ({"prompt": "p", "temperature": "hot"}, 'temperature must be a number, found the text "hot"'),
        ({"prompt": "p", "temperature": float("nan")}, "temperature must be a number, found nan"),
        ({"prompt": "p", "max_tokens": 0}, "max_tokens must be a whole number of at least 1, found 0"),
        ({"prompt": "p", "max_tokens": 1.5}, "max_tokens must be a whole number of at least 1, found 1.5"),
        (
            {"llm_config": {"prompt": "p", "output_schema": True}},
            "llm_config.output_schema must be an object, found true",
        ),
        ({"prompt": "p", "tools": "search"}, 'tools must be a list of names, found the text "search"'),
        ({"prompt": "p", "tools": ["a", {"name": "b"}]}, "tools[1] must be a tool's name, found an object"),
        ({"prompt": "p", "tools": ["a"], "max_iterations": "3"}, "max_iterations must be a whole number of at least 1"),
        ({"prompt": "p", "tools": ["a"], "on_limit": "stop"}, "on_limit must be one of fail, finalize, partial"),
        (
            {"prompt": "p", "tools": ["a"], "on_limit": []},
            "on_limit must be one of fail, finalize, partial, found a list",
        ),
        ({"prompt": "p", "tools": ["a"], "budget": 500}, "budget must be an object, found 500"),
        ({"prompt": "p", "tools": ["a"], "budget": {"total_tokens": -1}}, "budget.total_tokens must be a whole number"),
        ({"prompt": "p", "tools": ["a"], "on_uncertain": "x"}, "on_uncertain must be one of tell, fail"),
        ({"prompt": "p", "tools": ["a"], "task": {"a": 1}}, "task must be a text, found an object"),
    ],
)
def test_wrong_field_is_named_with_what_was_found(config: Any, message: str) -> None:
    """The author sees the field and the value, cut short."""
    with pytest.raises(InvalidNode) as caught:
        read(config)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("huge", [10**400, -(10**400)])
def test_huge_numbers_are_no_crash(huge: int) -> None:
    """JSON's integers have no limit, floats do."""
    assert isinstance(read({"prompt": "p", "temperature": huge}), LlmNode)
    if huge > 0:
        assert read({"tool_name": "t", "timeout": huge}).timeout is not None
    else:
        with pytest.raises(InvalidNode, match="found a very large number"):
            read({"tool_name": "t", "timeout": huge})


def test_fields_that_a_mode_has_no_use_for_are_ignored() -> None:
    """A tool node may carry anything under an agent's names."""
    assert read({"tool_name": "t", "tools": 5, "llm_config": "x", "max_iterations": []}) == ToolNode("t")
