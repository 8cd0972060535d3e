"""A router's choice where its rules do not decide: a model is asked for one of the routes' labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from executor_worker.errors import ConfigError, InvalidNode, ModelError, NoRoute, TemplateError
from executor_worker.graph import prompts, router, router_config
from executor_worker.graph.problems import Problems
from executor_worker.graph.router import Decision, Model, NeedsModel, Routing, answered, decide, unanswered
from executor_worker.nodes import llm, spec
from executor_worker.nodes.context import Context
from executor_worker.nodes.templates import short

INVALID_CONFIG = "invalid config: "
_FIELD = "route"
_SHOWN_CHARS = 300


def run(config: dict[str, Any], scope: Mapping[str, Any], context: Context) -> tuple[dict[str, Any], list[Any]]:
    """
    Choose where to go.

    Args:
        scope: What its rules see.

    Returns:
        The router's output, and the rules that raised.

    Raises:
        InvalidNode: The config can't be read: only of routers that others schedule, ours are looked at before they run.
        NoRoute: Nothing matched and there is no fallback.
    """
    routing = router_config.read(config, None, problems := Problems())
    for problem in problems:
        raise InvalidNode(f"{INVALID_CONFIG}{problem.message}")
    decided = decide(routing, scope)
    if isinstance(decided, NeedsModel):
        decided = _asked(routing, decided, scope, context)
    errors = [
        {"target": one.rule.target, "condition": one.rule.condition, "error": one.message} for one in decided.errors
    ]
    if isinstance(decided, router.NoRoute):
        raise NoRoute(f"the router has no way to go: {decided.reason}")
    usage = context.steps.usage
    return decided.output(usage.as_json() if usage is not None else None), errors


def _asked(
    routing: Routing, needed: NeedsModel, scope: Mapping[str, Any], context: Context
) -> Decision | router.NoRoute:
    """Ask the model; whatever keeps it from answering leads to the fallback."""
    try:
        prompt = prompts.render(needed.model.prompt, context.scope, scope["state"])
        node = spec.read({"llm_config": {**needed.model.settings, "prompt": "-"}})
        if not isinstance(node, spec.LlmNode):
            raise InvalidNode("a router's model takes no tools")
        request = replace(llm.opening(node.llm, context, prompt), output_schema=_schema(needed.model))
        text, _ = llm.ask(request, context)
    except (TemplateError, ModelError, InvalidNode, ConfigError) as error:
        return unanswered(routing, f"{_cause(routing, error)}: {short(str(error), _SHOWN_CHARS)}", needed.errors)
    return answered(routing, _answer_in(text), needed.errors)


def _cause(routing: Routing, error: Exception) -> str:
    """Begin the reason for a fallback as the original's routers did."""
    if isinstance(error, TemplateError):
        return "failed to render prompt"
    if isinstance(error, ModelError):
        return "llm call failed"
    missing = "llm client not configured"
    return f"fast rules did not match and {missing}" if routing.mode == "hybrid" else missing


def _schema(model: Model) -> dict[str, Any]:
    label = {"type": "string", "enum": list(model.routes)}
    return {"type": "object", "properties": {_FIELD: label}, "required": [_FIELD], "additionalProperties": False}


def _answer_in(text: str) -> str:
    """Read the label off an answer that follows the schema; any other is taken as it is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    answer = found.get(_FIELD) if isinstance(found, dict) else found
    return answer if isinstance(answer, str) else text
