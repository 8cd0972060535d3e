"""A tool's parameters, extracted from a text by a model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from executor_worker.errors import InvalidNode, ModelBadResponse
from executor_worker.nodes.answer import MAX_REPAIRS
from executor_worker.nodes.llm import opening
from executor_worker.nodes.schema import misfits
from executor_worker.nodes.spec import Extract
from executor_worker.nodes.templates import blank, short
from executor_worker.providers.base import ModelReply, ModelRequest, ToolResult, ToolSpec, ToolTurn, Turn, UserTurn
from executor_worker.tools.base import Tool

if TYPE_CHECKING:
    from executor_worker.nodes.context import Context

_SYSTEM = (
    "Call the tool with parameters taken from what the user gives you. "
    "Take only what is there; leave out what is optional and not mentioned."
)


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


def extracted(extract: Extract, name: str, tool: Tool, given: dict[str, Any], context: Context) -> dict[str, Any]:
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
