"""One question to a model, one answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from executor_worker.errors import InvalidNode, ModelBadResponse
from executor_worker.nodes.answer import MAX_REPAIRS, Unfit, Wanted
from executor_worker.nodes.spec import LlmNode, ModelSpec
from executor_worker.nodes.templates import as_json, blank, sendable, short
from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelReply, ModelRequest, UserTurn

if TYPE_CHECKING:
    from executor_worker.nodes.context import Context

FINISHED = frozenset({"end_turn", "stop_sequence"})

_MAX_PAUSES = 10
_SHOWN_CHARS = 500


def run(node: LlmNode, context: Context) -> dict[str, Any]:
    """
    Raises:
        TemplateError, InvalidNode: Before anything is called.
        ModelError: No answer, a refusal, or none that follows the schema.
    """
    request, wanted = prepare(node, context)
    if wanted is None:
        text, reply = ask(request, context)
        if not text:
            raise nothing_said(reply)
        return _output(text, reply, context)
    return _ask_for(wanted, request, context)


def prepare(node: LlmNode, context: Context) -> tuple[ModelRequest, Wanted | None]:
    """
    Render the request: all that can be done without calling anything.

    Raises:
        TemplateError, InvalidNode: See `run`.
    """
    return opening(node.llm, context, context.scope.text(node.prompt, "llm_config.prompt")), wanted_of(node.llm)


def wanted_of(llm: ModelSpec) -> Wanted | None:
    return Wanted(llm.output_schema) if llm.output_schema is not None else None


def opening(llm: ModelSpec, context: Context, *texts: str) -> ModelRequest:
    """
    Begin a conversation with what the node says about the model.

    Args:
        texts: The user's; if there is nothing in them, what the scope has for nodes without a prompt stands for them.
    """
    model = llm.model or context.model
    if not model:
        raise InvalidNode("llm_config.model required: the provider has no default, and LLM_MODEL is not set")
    system = context.scope.text(llm.system, "llm_config.system") if llm.system else ""
    said = [text for text in texts if not blank(text)] or [as_json(context.scope.default_message)]
    return ModelRequest(
        model=model,
        turns=(UserTurn(sendable("\n\n".join(said))),),
        system=None if blank(system) else sendable(system),
        temperature=llm.temperature,
        max_tokens=llm.max_tokens,
        output_schema=llm.output_schema,
        fallbacks=llm.fallbacks or (),
    )


def cut_short(reply: ModelReply, problem: str) -> ModelBadResponse:
    return ModelBadResponse(
        f"{short(reply.model)} stopped at {reply.stop_reason} before its answer was whole: {problem}"
    )


def nothing_said(reply: ModelReply) -> ModelBadResponse:
    return ModelBadResponse(f"{short(reply.model)} answered with nothing (it stopped at {reply.stop_reason})")


def _ask_for(wanted: Wanted, request: ModelRequest, context: Context) -> dict[str, Any]:
    problem = ""
    for _ in range(1 + MAX_REPAIRS):
        text, reply = ask(request, context)
        try:
            parsed = wanted.read(text)
        except Unfit as unfit:
            problem = short(str(unfit), _SHOWN_CHARS)
        else:
            return _output(text, reply, context) | {"parsed": parsed}
        if reply.stop_reason not in FINISHED:
            # It would be cut at the same place again.
            raise cut_short(reply, problem)
        request = replace(request, turns=(*request.turns, reply.turn, UserTurn(wanted.repair(problem))))
    raise ModelBadResponse(f"the answer did not follow output_schema, nor did {MAX_REPAIRS} corrections: {problem}")


def ask(request: ModelRequest, context: Context) -> tuple[str, ModelReply]:
    """
    Call the model, and again if it only paused; the texts together are its answer.

    Raises:
        ModelError: No answer, or a refusal.
    """
    texts = []
    for _ in range(_MAX_PAUSES):
        reply = context.steps.model(request)
        texts.append(reply.text)
        if reply.stop_reason != "pause_turn":
            return "".join(texts), reply
        request = replace(request, turns=(*request.turns, reply.turn))
    raise ModelBadResponse(f"{short(reply.model)} paused {_MAX_PAUSES} times without an answer")


def _output(text: str, reply: ModelReply, context: Context) -> dict[str, Any]:
    output: dict[str, Any] = {"content": text, "usage": (context.steps.usage or Usage()).as_json()}
    if reply.stop_reason not in FINISHED:
        output["stop_reason"] = reply.stop_reason
    return output
