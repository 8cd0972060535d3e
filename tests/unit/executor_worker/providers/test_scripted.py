"""The model that is none: what it says without a script, and with one."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from executor_worker.errors import (
    ConfigError,
    ModelBadResponse,
    ModelError,
    ModelRateLimited,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    NodeTimeout,
)
from executor_worker.outcome import Usage
from executor_worker.providers import Models, ModelSettings
from executor_worker.providers.base import ModelReply, ModelRequest, ToolResult, ToolSpec, ToolTurn, UserTurn
from executor_worker.providers.retries import Retries
from executor_worker.providers.scripted import Scripted
from tests.unit.executor_worker.providers.dialects import asked, run_context

SCHEMA = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    "required": ["query", "limit"],
}
SEARCH = ToolSpec("web.search", "Search", SCHEMA)


def scripted(script: Path | str = "", *, timeout_s: float = 5, retries: int = 3) -> Scripted:
    return Scripted(timeout_s=timeout_s, retries=Retries(retries, base_s=0.01), script=str(script))


def conversation(model: Scripted, request: ModelRequest, results: list[str]) -> list[ModelReply]:
    """Answer each turn's tool calls with the next of *results*, else say so much as go on."""
    replies = [model.complete(request, run_context())]
    for result in results:
        calls = replies[-1].tool_calls
        answer = ToolTurn(tuple(ToolResult(call.id, result) for call in calls)) if calls else UserTurn(result)
        request = replace(request, turns=(*request.turns, replies[-1].turn, answer))
        replies.append(model.complete(request, run_context()))
    return replies


def rules(*entries: dict[str, Any]) -> str:
    return "Do it. " + json.dumps({"script": list(entries)}) + " Thanks."


# --- without a script


def test_it_repeats_the_prompt() -> None:
    """The same each time, with usage that is not nothing."""
    reply = scripted().complete(asked("How are you?"), run_context())
    assert (reply.text, reply.stop_reason) == ("scripted: How are you?", "end_turn")
    assert reply.usage.input_tokens > 0
    assert reply == scripted().complete(asked("How are you?"), run_context())


def test_it_follows_a_schema() -> None:
    """With the smallest value there is."""
    reply = scripted().complete(asked("Find it", output_schema=SCHEMA), run_context())
    jsonschema.validate(json.loads(reply.text), SCHEMA)


def test_it_calls_the_first_tool_once_and_sums_up() -> None:
    """With arguments that follow the tool's schema."""
    request = asked("cats", tools=(SEARCH, ToolSpec("other", "", {})))
    first, second = conversation(scripted(), request, ["seven cats"])
    (call,) = first.tool_calls
    assert first.stop_reason == "tool_use"
    assert (call.name, call.arguments) == ("web.search", {"query": "cats", "limit": 1})
    assert (second.text, second.stop_reason) == ("scripted: web.search returned seven cats", "end_turn")


def test_it_calls_the_tool_it_must_and_none_where_it_may_not() -> None:
    """`tool_choice` decides."""
    other = ToolSpec("other", "", {"type": "object"})
    forced = scripted().complete(asked(tools=(SEARCH, other), tool_choice="other"), run_context())
    assert [call.name for call in forced.tool_calls] == ["other"]
    assert scripted().complete(asked(tools=(SEARCH,), tool_choice="none"), run_context()).text == "scripted: hello"


# --- with a script


def test_a_script_in_the_prompt_is_followed_step_by_step() -> None:
    """A call of two tools, an answer, then as without a script."""
    calls = [{"name": "a", "arguments": {"n": 1}}, {"name": "b", "arguments": "broken"}]
    prompt = rules(
        {"tool_calls": calls, "reply": "Let me see."}, {"reply": {"answer": 42}, "stop_reason": "max_tokens"}
    )
    first, second, third = conversation(scripted(), asked(prompt, tools=(SEARCH,)), ["done", "and now?"])
    assert first.text == "Let me see."
    assert [(call.name, call.arguments) for call in first.tool_calls] == [("a", {"n": 1}), ("b", None)]
    assert first.tool_calls[0].id != first.tool_calls[1].id
    assert first.tool_calls[1].problem
    assert (json.loads(second.text), second.stop_reason) == ({"answer": 42}, "max_tokens")
    assert third.tool_calls


def test_a_script_in_a_fenced_block_or_in_the_system_prompt() -> None:
    """Wherever an author may write it."""
    fenced = 'Hello\n```script\n[{"reply": "fenced"}]\n```\n'
    assert scripted().complete(asked(fenced), run_context()).text == "fenced"
    assert scripted().complete(asked("x", system=rules({"reply": "system"})), run_context()).text == "system"


def test_errors_are_met_by_the_retries(caplog: pytest.LogCaptureFixture) -> None:
    """As often as the rule says; the step then goes on."""
    prompt = rules({"error": "529", "times": 2}, {"error": "429", "retry_after_s": 0.05}, {"reply": "at last"})
    assert scripted(retries=3).complete(asked(prompt), run_context()).text == "at last"
    with pytest.raises(ModelRateLimited, match=r"429, as scripted \(asked to wait 0.05 s; tried 3 times\)"):
        scripted(retries=2).complete(asked(prompt), run_context())


def test_errors_belong_to_their_step() -> None:
    """Those before a reply that was given are over."""
    prompt = rules({"error": "500"}, {"reply": "one"}, {"error": "cut"}, {"reply": "two"})
    first, second = conversation(scripted(retries=1), asked(prompt), ["go on"])
    assert (first.text, second.text) == ("one", "two")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("400", ModelRejected),
        ("401", ModelRejected),
        ("429", ModelRateLimited),
        ("500", ModelUnavailable),
        ("timeout", ModelTimeout),
        ("html", ModelBadResponse),
    ],
)
def test_every_error_has_its_class(name: str, error: type[ModelError]) -> None:
    """For ever, where the rule repeats."""
    with pytest.raises(error, match=name):
        scripted(retries=1).complete(asked(rules({"error": name, "repeat": True})), run_context())


def test_a_rule_that_repeats_serves_all_steps() -> None:
    """An endless loop, for who has to end it."""
    prompt = rules({"tool_calls": [{"name": "web.search", "arguments": {}}], "repeat": True})
    replies = conversation(scripted(), asked(prompt, tools=(SEARCH,)), ["x"] * 5)
    assert all(reply.tool_calls for reply in replies)
    ids = [call.id for reply in replies for call in reply.tool_calls]
    assert len(set(ids)) == 6


def test_a_delay_is_bounded_by_the_limits() -> None:
    """By LLM_TIMEOUT, and by the node's own."""
    prompt = rules({"delay_s": 0.2, "reply": "late"})
    began = time.monotonic()
    assert scripted().complete(asked(prompt), run_context()).text == "late"
    assert time.monotonic() - began >= 0.2
    with pytest.raises(ModelTimeout):
        scripted(timeout_s=0.05, retries=0).complete(asked(rules({"delay_s": 60})), run_context())
    with pytest.raises(NodeTimeout):
        scripted().complete(asked(rules({"delay_s": 60})), run_context(0.1))


def test_usage_and_a_refusal() -> None:
    """As scripted."""
    prompt = rules({"reply": "no", "stop_reason": "refusal", "usage": {"input_tokens": 5, "output_tokens": 6}})
    reply = scripted().complete(asked(prompt), run_context())
    assert (reply.stop_reason, reply.usage) == ("refusal", Usage(5, 6))


def test_a_script_from_a_file(tmp_path: Path) -> None:
    """Its rules apply where they match; the setting names it."""
    file = tmp_path / "script.json"
    file.write_text(json.dumps([{"match": "(?i)weather", "reply": "Rain."}, {"match": "^cats$", "reply": "Seven."}]))
    assert scripted(file).complete(asked("The Weather?"), run_context()).text == "Rain."
    assert scripted(file).complete(asked("cats"), run_context()).text == "Seven."
    assert scripted(file).complete(asked("dogs"), run_context()).text == "scripted: dogs"
    assert (
        Models(ModelSettings("scripted", script=str(file))).default.complete(asked("cats"), run_context()).text
        == "Seven."
    )


@pytest.mark.parametrize(
    "script", ["{", "7", "[7]", '[{"replay": "x"}]', '[{"error": "teapot"}]', '[{"match": "("}]', '[{"reply": "x"}']
)
def test_a_script_that_is_wrong_is_said(script: str, tmp_path: Path) -> None:
    """A file stops the program, a prompt fails its node."""
    file = tmp_path / "script.json"
    file.write_text(script)
    with pytest.raises(ConfigError, match="LLM_SCRIPT"):
        scripted(file)
    with pytest.raises(ModelRejected, match="script can't be used"):
        scripted().complete(asked(f"```script\n{script}\n```"), run_context())


def test_a_script_file_that_is_missing_is_said(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigError, match=r"nowhere\.json' can't be read: No such file"):
        scripted(tmp_path / "nowhere.json")
