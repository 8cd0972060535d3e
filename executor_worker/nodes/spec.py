"""
Specs of nodes, read from their `config`: every dialect of the contract becomes one of three shapes.

The mode, in this order: `tool_name` makes it a tool; without a model's settings it is a tool that lacks its
name; with `tools` it is an agent; else an llm. Fields a mode has no use for are ignored, whatever they hold;
so are unknown ones. `null` is the same as leaving a field out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from executor_worker.errors import ConfigError, InvalidNode
from executor_worker.nodes import fields
from executor_worker.outcome import Mode
from executor_worker.providers import canonical
from executor_worker.providers.base import Choice

OnLimit = Literal["fail", "finalize", "partial"]
OnUncertain = Literal["tell", "fail"]

ALL_TOOLS = "*"

_TOP_LEVEL_MODEL_FIELDS = ("prompt", "model", "system_prompt", "system", "temperature", "max_tokens")
_AGENT_FIELDS = ("tools", "task", "max_iterations", "on_limit", "budget")
_MAX_SECONDS = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model that `llm_config` asks for, in any of its dialects; `prompt` and `system` are templates."""

    model: str | None = None
    prompt: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    output_schema: dict[str, Any] | None = None
    fallbacks: tuple[Choice, ...] | None = None


@dataclass(frozen=True, slots=True)
class LlmNode:
    """
    Attributes:
        prompt: The template of the user's message; empty: the graph's inputs as JSON.
        timeout: Seconds for the whole node, None: only the worker's own limit.
    """

    llm: ModelSpec
    prompt: str
    timeout: float | None = None
    mode: Literal["llm"] = "llm"


@dataclass(frozen=True, slots=True)
class AgentNode:
    """
    Attributes:
        task: Templates whose texts together are the user's message; none: the graph's inputs as JSON.
        tools: Names; `*` stands for all.
        max_iterations: Model calls; None: the worker's setting.
        budget_tokens, budget_usd: No further model call is made once so much was used.
    """

    llm: ModelSpec
    task: tuple[tuple[str, str], ...]
    tools: tuple[str, ...]
    max_iterations: int | None = None
    on_limit: OnLimit = "fail"
    budget_tokens: int | None = None
    on_uncertain: OnUncertain = "tell"
    timeout: float | None = None
    budget_usd: float | None = None
    mode: Literal["agent"] = "agent"


@dataclass(frozen=True, slots=True)
class Extract:
    """Let a model fill the tool's parameters from `source`, a template."""

    source: str
    llm: ModelSpec


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class ToolNode:
    """
    Attributes:
        params: Templates at any depth; laid over what is extracted.
        params_field: What `params` is called in the config, for messages.
    """

    tool: str
    params: dict[str, Any] = field(default_factory=dict)
    params_field: str = "tool_params"
    extract: Extract | None = None
    timeout: float | None = None
    mode: Literal["tool"] = "tool"


Node: TypeAlias = LlmNode | AgentNode | ToolNode


def mode_of(config: dict[str, Any]) -> Mode:
    """Choose the mode by what is there; whether that can be run is for `read` to say."""
    if not isinstance(config, dict):
        raise InvalidNode(f"config must be an object, found {fields.found(config)}")
    if config.get("tool_name"):
        return "tool"
    if not _has_model(config):
        return "tool"
    return "agent" if config.get("tools") else "llm"


def read(config: dict[str, Any], mode: Mode | None = None) -> Node:
    """
    Args:
        mode: As `mode_of` says, if it was asked already.

    Raises:
        InvalidNode: The field that is missing or wrong is named, with what was found.
    """
    mode = mode or mode_of(config)
    # Most nodes have few of the fields: what is not there need not be looked at.
    timeout = None
    if config.get("timeout") is not None:
        timeout = fields.number(config, "timeout", above=0, limit=_MAX_SECONDS)
    if mode == "tool":
        return _tool_node(config, timeout)
    if mode == "agent":
        return _agent_node(config, timeout)
    llm = _model(config)
    return LlmNode(llm, llm.prompt or "", timeout)


def _tool_node(config: dict[str, Any], timeout: float | None) -> ToolNode:
    name, params, params_field = config.get("tool_name"), config.get("tool_params"), "tool_params"
    if type(name) is not str:
        name = fields.text(config, "tool_name")
    if not name:
        raise InvalidNode(_no_tool(config))
    if params is None and config.get("parameters") is not None:
        params_field = "parameters"
    if type(params) is not dict:
        params = fields.mapping(config, params_field) or {}
    extract = _extract(config) if config.get("extract_params") is not None else None
    return ToolNode(name, params, params_field, extract, timeout)


def _no_tool(config: dict[str, Any]) -> str:
    """Say what is missing: a config without a model's settings is taken for a tool, whatever was meant."""
    meant = next((name for name in _AGENT_FIELDS if config.get(name)), None)
    if meant is None:
        return "tool_name required"
    return (
        f"tool_name required, for there is no llm_config; if an agent is meant ({meant!r} says so), add llm_config:"
        " {} will do, the pool's own model is used then"
    )


def _extract(config: dict[str, Any]) -> Extract | None:
    extract = fields.mapping(config, "extract_params")
    if extract is None:
        return None
    source = fields.text(extract, "from", "extract_params.")
    if not source:
        raise InvalidNode("extract_params.from required")
    settings = fields.mapping(extract, "llm_config", "extract_params.")
    return Extract(
        source, _model(config) if settings is None else _model_fields(settings, "extract_params.llm_config.")
    )


def _agent_node(config: dict[str, Any], timeout: float | None) -> AgentNode:
    llm = _model(config)
    task = fields.text(config, "task")
    said = (("llm_config.prompt", llm.prompt), ("task", task))
    budget = fields.mapping(config, "budget") or {}
    return AgentNode(
        llm=llm,
        task=tuple((where, text) for where, text in said if text),
        tools=_tools(config["tools"]),
        max_iterations=fields.integer(config, "max_iterations"),
        on_limit=cast(OnLimit, fields.choice(config, "on_limit", ("fail", "finalize", "partial"))),
        budget_tokens=fields.integer(budget, "total_tokens", "budget."),
        budget_usd=fields.number(budget, "usd", "budget.", above=0),
        on_uncertain=cast(OnUncertain, fields.choice(config, "on_uncertain", ("tell", "fail"))),
        timeout=timeout,
    )


def _tools(names: Any) -> tuple[str, ...]:
    if names == ALL_TOOLS:
        return (ALL_TOOLS,)
    if not isinstance(names, list):
        raise InvalidNode(f"tools must be a list of names, found {fields.found(names)}")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InvalidNode(f"tools[{index}] must be a tool's name, found {fields.found(name)}")
    return tuple(dict.fromkeys(names))


def _has_model(config: dict[str, Any]) -> bool:
    if config.get("llm_config") is not None:
        return True
    return any(config.get(name) is not None for name in _TOP_LEVEL_MODEL_FIELDS)


def _model(config: dict[str, Any]) -> ModelSpec:
    """Read `llm_config`, and what it leaves out from the top level."""
    within = fields.mapping(config, "llm_config")
    if within is None:
        return _model_fields(config, "")
    inner = _model_fields(within, "llm_config.")
    if not any(config.get(name) is not None for name in (*_TOP_LEVEL_MODEL_FIELDS, "output_schema")):
        return inner
    said = {name.name: value for name in dataclasses.fields(inner) if (value := getattr(inner, name.name)) is not None}
    return dataclasses.replace(_model_fields(config, ""), **said)


def _model_fields(config: dict[str, Any], within: str) -> ModelSpec:
    system = fields.text(config, "system", within)
    return ModelSpec(
        model=fields.text(config, "model", within) or None,
        prompt=fields.text(config, "prompt", within),
        system=fields.text(config, "system_prompt", within) if system is None else system,
        temperature=fields.number(config, "temperature", within),
        max_tokens=fields.integer(config, "max_tokens", within),
        output_schema=fields.mapping(config, "output_schema", within),
        fallbacks=_fallbacks(config.get("fallbacks"), f"{within}fallbacks"),
    )


def _fallbacks(given: Any, where: str) -> tuple[Choice, ...] | None:
    """Read names of models, or objects with `provider` and `model`."""
    if given is None:
        return None
    if not isinstance(given, list):
        raise InvalidNode(f"{where} must be a list of models, found {fields.found(given)}")
    return tuple(_fallback(one, f"{where}[{index}]") for index, one in enumerate(given))


def _fallback(given: Any, where: str) -> Choice:
    named = given if isinstance(given, dict) else {"model": given}
    model, provider = (fields.text(named, name, f"{where}.") for name in ("model", "provider"))
    if not model:
        raise InvalidNode(f"{where} must name a model, found {fields.found(given)}")
    try:
        return Choice(model, canonical(provider) if provider else "")
    except ConfigError as error:
        raise InvalidNode(f"{where}.provider: {error.problem}") from error
