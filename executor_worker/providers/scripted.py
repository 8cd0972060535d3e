"""
A model that is not one: no network, no key, the same answer each time.

**Without a script** it
- answers `scripted: <the prompt>`, or, if a schema is asked for, the smallest JSON that follows it;
- given tools, calls the first one once, with arguments that follow its schema (strings are taken from the prompt),
  then answers `scripted: <tool> returned <result>`; a tool that must be called is called.

**With a script** it does what the rules say. A script is a JSON list of rules, found in
1. the system prompt or a user's text: inline as `{"script": [ … ]}`, or in a fenced block marked `script`;
2. the file named by the setting `LLM_SCRIPT`, if its rules match.

    {"match": "weather"}            regular expression, looked for in the system prompt and the users' texts
    {"reply": "It rains."}          answer this; another JSON value than a string is answered as JSON
    {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Berlin"}}]}     may stand beside `reply`
    {"stop_reason": "max_tokens"}   beside `reply`
    {"usage": {"input_tokens": 10, "output_tokens": 5}}     beside `reply`; else estimated
    {"error": "429", "retry_after_s": 0.2, "times": 2}      fail so often (default once) before the next rule:
                                    400, 401, 404, 429, 500, 503, 529, timeout, cut, html
    {"delay_s": 1.5}                wait before, in any rule; longer than LLM_TIMEOUT is a timeout
    {"stream_s": 2}                 beside `reply`: say it word by word, for so long
    {"repeat": true}                this rule serves all further steps

Rules that match, and those that name no `match`, are used up in order, a reply for each step of the conversation.
The step is counted from the conversation itself: after a restart it goes on where it was. When all rules are used
up, it goes on as without a script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from executor_worker.errors import (
    ConfigError,
    ModelBadResponse,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
)
from executor_worker.outcome import Usage
from executor_worker.providers.base import (
    ModelReply,
    ModelRequest,
    ModelTurn,
    Provider,
    StopReason,
    ToolCall,
    ToolTurn,
    UserTurn,
)
from executor_worker.providers.model_settings import ModelSettings
from executor_worker.providers.retries import Retries, pause
from executor_worker.providers.sample import sample
from executor_worker.run_context import RunContext
from executor_worker.text_files import read_text, settings_json

CHARS_PER_TOKEN = 4
ERRORS: dict[str, type[ModelError]] = {
    "400": ModelRejected,
    "401": ModelRejected,
    "404": ModelNotFound,
    "429": ModelRateLimited,
    "500": ModelUnavailable,
    "503": ModelUnavailable,
    "529": ModelUnavailable,
    "cut": ModelUnavailable,
    "timeout": ModelTimeout,
    "html": ModelBadResponse,
}
_FENCED = re.compile(r"```script\s*\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r'\{\s*"script"\s*:')


@dataclass(frozen=True)
class Rule:
    """One step of a script; see the module's text."""

    match: str | None = None
    reply: Any = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    usage: dict[str, int] | None = None
    error: str | None = None
    retry_after_s: float | None = None
    times: int = 1
    delay_s: float = 0.0
    stream_s: float = 0.0
    repeat: bool = False

    @classmethod
    def of(cls, entry: object) -> Rule:
        """
        Raises:
            ValueError: It says something that no rule can say.
        """
        if not isinstance(entry, dict) or not entry.keys() <= cls.__dataclass_fields__.keys():
            known = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"a rule is a JSON object of {known}; not {json.dumps(entry)[:100]}")
        rule = cls(**entry)
        if rule.error is not None and str(rule.error) not in ERRORS:
            raise ValueError(f"error is one of {', '.join(ERRORS)}; not {rule.error!r}")
        re.compile(rule.match or "")
        return rule


class Scripted:
    """
    Args:
        script: Path of a file of rules; empty: none.
    """

    name = "scripted"

    def __init__(self, *, timeout_s: float, retries: Retries, script: str = "") -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._rules = _file_rules(script) if script else []

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        rules = self._rules_for(request)
        step = sum(isinstance(turn, ModelTurn) for turn in request.turns)
        return self._retries.run(
            lambda number: self._attempt(request, _rule_at(rules, step, number), run_context),
            run_context,
            request.model,
        )

    def known_models(self, run_context: RunContext) -> list[str]:
        """Say that any model will do."""
        run_context.check()
        return []

    def close(self) -> None:
        """Nothing is open."""

    def _rules_for(self, request: ModelRequest) -> list[Rule]:
        texts = [request.system or "", *(turn.text for turn in request.turns if isinstance(turn, (UserTurn, ToolTurn)))]
        try:
            if directive := next((found for text in texts for found in _directives(text)), None):
                return _matching([Rule.of(entry) for entry in directive], texts)
        except (ValueError, TypeError, re.error) as error:
            raise ModelRejected(f"scripted {request.model}: the prompt's script can't be used: {error}") from error
        return _matching(self._rules, texts)

    def _attempt(self, request: ModelRequest, rule: Rule | None, run_context: RunContext) -> ModelReply:
        who = f"scripted {request.model}"
        if rule is not None:
            pause(min(rule.delay_s, self._timeout_s), run_context)
            if rule.delay_s > self._timeout_s:
                raise ModelTimeout(f"{who}: no complete answer within LLM_TIMEOUT")
            if rule.error is not None:
                # Not `throttled`: each item's script is its own, and no other item is to wait for it.
                raise ERRORS[str(rule.error)](f"{who}: {rule.error}, as scripted", retry_after=rule.retry_after_s)
        reply = _reply(request, rule or _unscripted(request))
        _say(reply, rule.stream_s if rule is not None else 0.0, run_context)
        return reply


def _matching(rules: list[Rule], texts: list[str]) -> list[Rule]:
    return [rule for rule in rules if any(re.search(rule.match or "", text) for text in texts)]


def _rule_at(rules: list[Rule], step: int, attempt: int) -> Rule | None:
    """Find the rule for this attempt at this step: replies count steps, errors before a reply count attempts."""
    failures: list[Rule] = []
    for rule in rules:
        if rule.error is not None and not rule.repeat:
            failures += [rule] * rule.times
        elif step == 0 or rule.repeat:
            return failures[attempt] if attempt < len(failures) else rule
        else:
            step -= 1
            failures = []
    return failures[attempt] if step == 0 and attempt < len(failures) else None


def _unscripted(request: ModelRequest) -> Rule:
    """Do something useful: call a tool, follow the schema, repeat the prompt."""
    asked = next((turn.text for turn in request.turns if isinstance(turn, UserTurn)), "")
    last = request.turns[-1] if request.turns else UserTurn("")
    tool = next((tool for tool in request.tools if tool.name == request.tool_choice), None)
    if tool is None and request.tools and request.tool_choice == "auto" and not isinstance(last, ToolTurn):
        tool = request.tools[0]
    if tool is not None:
        return Rule(tool_calls=[{"name": tool.name, "arguments": sample(tool.input_schema, asked) or {}}])
    if request.output_schema is not None:
        return Rule(reply=orjson.dumps(sample(request.output_schema, asked)).decode())
    if isinstance(last, ToolTurn):
        return Rule(reply=f"scripted: {_summary(request, last)}")
    return Rule(reply=f"scripted: {last.text if isinstance(last, UserTurn) else asked}")


def _summary(request: ModelRequest, turn: ToolTurn) -> str:
    calls: list[dict[str, Any]] = next(
        (past.raw for past in reversed(request.turns) if isinstance(past, ModelTurn)), []
    )
    names = {block.get("id"): block.get("name") for block in calls}
    return "; ".join(
        f"{names.get(result.call_id, 'a tool')} {'failed with' if result.is_error else 'returned'} {result.text}"
        for result in turn.results
    )


def _reply(request: ModelRequest, rule: Rule) -> ModelReply:
    text = rule.reply if isinstance(rule.reply, str) else "" if rule.reply is None else json.dumps(rule.reply)
    calls = tuple(_tool_call(call, f"call_{len(request.turns)}_{n}") for n, call in enumerate(rule.tool_calls))
    raw: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    raw += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in calls]
    usage = Usage(**rule.usage) if rule.usage else _estimate(request, raw)
    reason = cast("StopReason", rule.stop_reason or ("tool_use" if calls else "end_turn"))
    return ModelReply(text, ModelTurn(raw), reason, usage, request.model, calls)


def _say(reply: ModelReply, seconds: float, run_context: RunContext) -> None:
    """Show the reply as it would come from a model: text word by word, then the calls."""
    words = re.findall(r"\S*\s*", reply.text) if seconds else [reply.text]
    for word in filter(None, words):
        run_context.text_delta(word)
        pause(seconds / len(words), run_context)
    for position, call in enumerate(reply.tool_calls):
        run_context.call_delta(position, call.name, json.dumps(call.arguments))


def _tool_call(call: dict[str, Any], call_id: str) -> ToolCall:
    arguments = call.get("arguments", {})
    if isinstance(arguments, dict):
        return ToolCall(call_id, str(call.get("name", "")), arguments)
    return ToolCall(call_id, str(call.get("name", "")), None, "the arguments are not a JSON object")


def _estimate(request: ModelRequest, raw: list[dict[str, Any]]) -> Usage:
    said = (turn.raw if isinstance(turn, ModelTurn) else turn.text for turn in request.turns)
    shown = [request.system or "", *said, *(tool.name for tool in request.tools)]
    return Usage(_tokens(shown), _tokens(raw))


def _tokens(value: object) -> int:
    return -(-len(json.dumps(value)) // CHARS_PER_TOKEN)


def _directives(text: str) -> Iterator[list[Any]]:
    for block in _FENCED.finditer(text):
        yield _as_list(json.loads(block[1]))
    for found in _INLINE.finditer(text):
        yield _as_list(json.JSONDecoder().raw_decode(text, found.start())[0]["script"])


def _as_list(script: object) -> list[Any]:
    if isinstance(script, dict):
        script = script.get("rules", [script])
    if not isinstance(script, list):
        raise ValueError("a script is a JSON list of rules")
    return script


def _file_rules(path: str) -> list[Rule]:
    fix = "Name a JSON file with a list of rules, or unset it."
    try:
        return [Rule.of(entry) for entry in _as_list(settings_json(read_text(path)))]
    except OSError as error:
        raise ConfigError("LLM_SCRIPT", f"{path!r} can't be read: {error.strerror}.", fix) from error
    except (ValueError, TypeError, re.error) as error:
        raise ConfigError("LLM_SCRIPT", f"{path!r} is no script: {error}.", fix) from error


def make(_name: str, settings: ModelSettings, retries: Retries) -> Provider:
    return Scripted(timeout_s=settings.timeout_s, retries=retries, script=settings.script)
