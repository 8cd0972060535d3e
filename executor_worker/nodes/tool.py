"""One call of one tool, its parameters rendered from templates or extracted by a model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson

from executor_worker.errors import InvalidNode, ModelBadResponse, NodeError, ToolFailed
from executor_worker.nodes.answer import MAX_REPAIRS
from executor_worker.nodes.calls import circuits_of
from executor_worker.nodes.context import Context
from executor_worker.nodes.llm import opening
from executor_worker.nodes.schema import misfits
from executor_worker.nodes.spec import Extract, ToolNode
from executor_worker.nodes.templates import blank, short
from executor_worker.providers.base import ModelReply, ModelRequest, ToolResult, ToolSpec, ToolTurn, Turn, UserTurn
from executor_worker.tools.base import Answer, Tool

_TOLD_CHARS = 4000
_PLAIN_ONLY = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_SYSTEM = (
    "Call the tool with parameters taken from what the user gives you. "
    "Take only what is there; leave out what is optional and not mentioned."
)


def run(node: ToolNode, context: Context) -> Any:
    """
    Raises:
        UnknownTool, ToolUnavailable, TemplateError, InvalidNode: Before anything is called.
        ModelError: The parameters could not be extracted.
        ToolError: The tool was called, and failed.
    """
    tool, params = prepare(node, context)
    if node.extract is not None:
        context.run_context.admit_tool(circuits_of(tool))  # before a model is paid for the parameters
        params = _extracted(node.extract, node.tool, tool, params, context)
    try:
        return _output(context.steps.tool(tool, node.tool, params), node.tool)
    except NodeError as error:
        error.retry = getattr(tool, "retry", None)
        raise


def prepare(node: ToolNode, context: Context) -> tuple[Tool, dict[str, Any]]:
    """
    Find the tool, render the parameters and check them: all that can be done without calling anything.

    Raises:
        UnknownTool, ToolUnavailable, TemplateError, InvalidNode: See `run`.
    """
    tool = context.find_tool(node.tool)
    params: dict[str, Any] = context.scope.value(node.params, node.params_field)
    problems = misfits(tool, params, missing=node.extract is None)
    if problems:
        raise InvalidNode(f"{node.params_field} of {short(node.tool)}: {'; '.join(problems)}")
    return tool, params


def extraction(extract: Extract, name: str, tool: Tool, context: Context) -> ModelRequest:
    """Ask a model for the tool's parameters: it is made to call this tool, and no other."""
    texts = [context.scope.text(extract.source, "extract_params.from")]
    if extract.llm.prompt:
        texts.insert(0, context.scope.text(extract.llm.prompt, "extract_params.llm_config.prompt"))
    if all(map(blank, texts)):
        raise InvalidNode("extract_params.from renders to nothing: there is nothing to take the parameters from")
    request = opening(extract.llm, context, *texts)
    return replace(
        request,
        system=request.system or _SYSTEM,
        output_schema=None,
        tools=(ToolSpec(name, tool.description, tool.input_schema),),
        tool_choice=name,
    )


def _extracted(extract: Extract, name: str, tool: Tool, given: dict[str, Any], context: Context) -> dict[str, Any]:
    """Let the model fill the parameters; what was *given* is laid over. It may correct itself twice."""
    request = extraction(extract, name, tool, context)
    problem = ""
    for _ in range(1 + MAX_REPAIRS):
        reply = context.steps.model(request)
        params, problem = _filled(reply, name, tool, given)
        if params is not None:
            return params
        request = replace(request, turns=(*request.turns, reply.turn, _told(reply, problem)))
    raise ModelBadResponse(f"{short(reply.model)} did not fill the parameters of {short(name)}: {problem}")


def _filled(reply: ModelReply, name: str, tool: Tool, given: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    call = next((call for call in reply.tool_calls if call.name == name), None)
    if call is None:
        return None, f"it did not call the tool (it stopped at {reply.stop_reason})"
    if call.arguments is None:
        return None, call.problem or "its parameters were not a JSON object"
    params = {**call.arguments, **given}
    problems = misfits(tool, params)
    return (None, "; ".join(problems)) if problems else (params, "")


def _told(reply: ModelReply, problem: str) -> Turn:
    advice = f"The parameters can't be used: {problem}. Call the tool again with all parameters, corrected."
    if not reply.tool_calls:
        return UserTurn(advice)
    return ToolTurn(tuple(ToolResult(call.id, advice, is_error=True) for call in reply.tool_calls))


def _output(answer: Answer, name: str) -> Any:
    if answer.is_error:
        raise ToolFailed(f"{short(name)}: {short(answer.text, _TOLD_CHARS) or 'failed and gave no reason'}")
    if not answer.is_json and not _is_json(answer.value):
        raise ToolFailed(f"{short(name)} returned output that is not JSON")
    return answer.value


def _is_json(value: Any) -> bool:
    try:
        # orjson writes NaN as null, and fails on integers over 64 bits: only then is a second, slow look needed.
        if b"null" not in orjson.dumps(value, option=_PLAIN_ONLY):
            return True
    except TypeError:
        pass
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
