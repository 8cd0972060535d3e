"""The Messages adapter: what is sent, what is made of what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executor_worker.errors import ModelRejected, ModelUnavailable
from executor_worker.outcome import Usage
from executor_worker.providers.anthropic_messages import AnthropicMessages
from executor_worker.providers.base import (
    ModelRequest,
    ModelTurn,
    ToolCall,
    ToolResult,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)
from executor_worker.providers.retries import Retries
from tests.unit.executor_worker.providers.dialects import KEY, asked, event, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, Reply, failure, stream

Logged = Callable[[str], list[dict[str, object]]]
MARK = {"type": "ephemeral"}
SPARE = ToolSpec("spare", "Do nothing", {"type": "object"})
WEATHER = ToolSpec("weather.now", "Tell the weather", {"type": "object", "properties": {"city": {"type": "string"}}})


def adapter(url: str) -> AnthropicMessages:
    return AnthropicMessages(api_key=KEY, base_url=url, timeout_s=5, retries=Retries(1, base_s=0.01))


@pytest.fixture
def model(faulty: FaultServer) -> Iterator[AnthropicMessages]:
    """The adapter, talking to *faulty*."""
    made = adapter(faulty.url)
    yield made
    made.close()


def message(*blocks: str, stop: Any = "end_turn", usage: dict[str, int] | None = None, **delta: Any) -> Reply:
    """Stream one message made of *blocks*."""
    begun = {"id": "m", "model": "claude-x", "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}}
    end = event("message_delta", delta={"stop_reason": stop, **delta}, usage={"output_tokens": 7, **(usage or {})})
    return stream(event("message_start", message=begun), *blocks, end, event("message_stop"))


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> str:
    """Stream one content block."""
    return "".join(
        [
            event("content_block_start", index=index, content_block=start),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        ]
    )


def text(index: int, *pieces: str) -> str:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def call(index: int, name: str, *pieces: str, call_id: str = "toolu_1") -> str:
    start = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


# --- against a server that is not ours


# --- what is sent


def test_the_plain_request(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Model, messages, a limit; the key as a header."""
    faulty.will(message(text(0, "ok")))
    model.complete(ModelRequest("claude-x", (UserTurn("hi"),), max_tokens=50), run_context())
    assert faulty.requests == [
        {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    ]
    assert faulty.headers[0]["authorization"] == f"Bearer {KEY}"


def test_temperature_is_left_out_and_said_once(faulty: FaultServer, model: AnthropicMessages, logged: Logged) -> None:
    """The API no longer takes it."""
    faulty.will(message(text(0, "ok")))
    for _ in range(2):
        model.complete(asked(temperature=0.2), run_context())
    assert all("temperature" not in body for body in faulty.requests)
    (fields,) = logged("model.parameter_left_out")
    assert (fields["provider"], fields["model"], fields["parameter"]) == ("anthropic", "test-model", "temperature")


def test_system_and_tools_are_cached(faulty: FaultServer, model: AnthropicMessages) -> None:
    """They are the same at the next call; a question that is asked once is not."""
    faulty.will(message(text(0, "ok")))
    model.complete(asked(system="Be kind."), run_context())
    model.complete(asked(tools=(WEATHER, SPARE), tool_choice="weather.now"), run_context())
    alone, tools = faulty.requests
    assert alone["system"] == [{"type": "text", "text": "Be kind.", "cache_control": MARK}]
    assert ["cache_control" in tool for tool in tools["tools"]] == [False, True]
    assert [request["messages"] for request in faulty.requests] == [[{"role": "user", "content": "hello"}]] * 2


def test_a_conversation_is_cached_up_to_its_end(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Its last two turns are marked, four marks in all: each call reads what the one before it wrote."""
    faulty.will(message(text(0, "ok")))
    turns: tuple[Turn, ...] = (UserTurn("go"),)
    for number in range(3):
        model.complete(ModelRequest("claude-x", turns, system="Be kind.", tools=(WEATHER, SPARE)), run_context())
        raw = [{"type": "tool_use", "id": f"{number}{n}", "name": "weather_now", "input": {}} for n in range(30)]
        results = tuple(ToolResult(f"{number}{n}", "warm" if n else "") for n in range(30))
        turns = (*turns, ModelTurn(raw), ToolTurn(results))
    for request, marked in zip(faulty.requests, ([0], [0, 2], [2, 4]), strict=True):
        users = {place: entry["content"] for place, entry in enumerate(request["messages"]) if entry["role"] == "user"}
        assert [place for place, blocks in users.items() if "cache_control" in blocks[-1]] == marked
        assert json.dumps(request).count('"cache_control"') == 2 + len(marked) <= 4
    first, last = faulty.requests[0]["messages"], faulty.requests[2]["messages"]
    assert first[0]["content"] == [{"type": "text", "text": "go", "cache_control": MARK}]
    assert last[0]["content"] in ("go", [{"type": "text", "text": "go"}])
    assert "cache_control" not in json.dumps(turns, default=lambda turn: [getattr(turn, at) for at in turn.__slots__])


def test_tools_are_declared_under_names_the_api_takes(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Their schemas as objects without alternatives at the top."""
    odd = ToolSpec("größe/µ", "Odd", {"$schema": "x", "anyOf": [{"required": ["a"]}], "properties": {"a": {}}})
    faulty.will(message(text(0, "ok")))
    model.complete(asked(tools=(WEATHER, odd)), run_context())
    first, second = faulty.requests[0]["tools"]
    assert first["name"] == "weather_now"
    assert first["description"] == "Tell the weather"
    assert second["name"] == "gr__e__"
    assert second["input_schema"] == {"properties": {"a": {}}, "required": ["a"], "type": "object"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [("auto", None), ("none", {"type": "none"}), ("weather.now", {"type": "tool", "name": "weather_now"})],
)
def test_tool_choice(choice: str, sent: object, faulty: FaultServer, model: AnthropicMessages) -> None:
    """Left to the model, forbidden, or one by name."""
    faulty.will(message(text(0, "ok")))
    model.complete(asked(tools=(WEATHER,), tool_choice=choice), run_context())
    assert faulty.requests[0].get("tool_choice") == sent
    assert len(faulty.requests[0]["tools"]) == 1


def test_a_conversation_is_sent_as_it_was(faulty: FaultServer, model: AnthropicMessages) -> None:
    """The model's blocks verbatim, results with images and links, errors as text only."""
    raw = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "t1", "name": "weather_now", "input": {"city": "Bonn"}},
        {"type": "tool_use", "id": "t2", "name": "weather_now", "input": {}},
        {"type": "some_new_block", "future": [1, {"x": None}]},
    ]
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    link = {"type": "resource_link", "name": "map", "uri": "file:///map"}
    results = (
        ToolResult("t1", "warm", blocks=(image, link, {"type": "image", "data": "aGk=", "mimeType": "image/svg+xml"})),
        ToolResult("t2", "broken", is_error=True, blocks=(image,)),
    )
    turns = (UserTurn("go"), ModelTurn(raw), ToolTurn(results, "Hurry."), ModelTurn([]), UserTurn("again"))
    faulty.will(message(text(0, "ok")))
    model.complete(ModelRequest("claude-x", turns, tools=(WEATHER,)), run_context())
    sent = faulty.requests[0]["messages"]
    assert [entry["role"] for entry in sent] == ["user", "assistant", "user", "user"]
    assert sent[1]["content"] == [raw[0], *raw[2:]]
    first, second, hurry = sent[2]["content"]
    assert first["tool_use_id"] == "t1"
    assert first["content"] == [
        {"type": "text", "text": "warm"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "text", "text": "map file:///map"},
        {"type": "text", "text": "[image/svg+xml of 3 bytes, not shown]"},
    ]
    assert second["is_error"] is True
    assert {part["type"] for part in second["content"]} == {"text"}
    assert hurry == {"type": "text", "text": "Hurry.", "cache_control": MARK}


def test_another_providers_conversation_is_rejected(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Its blocks mean nothing here."""
    faulty.will(message(text(0, "ok")))
    with pytest.raises(ModelRejected, match="another provider"):
        model.complete(
            ModelRequest("m", (UserTurn("a"), ModelTurn({"role": "assistant"}), UserTurn("b"))), run_context()
        )
    assert not faulty.requests


def test_a_closed_schema_is_enforced_by_the_api(faulty: FaultServer, model: AnthropicMessages) -> None:
    """What it can't enforce is put into words by the SDK."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"age": {"type": ["integer", "null"], "minimum": 0}},
        "required": ["age"],
    }
    faulty.will(message(text(0, '{"age": 3}')))
    assert model.complete(asked(output_schema=schema), run_context()).text == '{"age": 3}'
    form = faulty.requests[0]["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["additionalProperties"] is False
    assert form["schema"]["properties"]["age"]["anyOf"][1] == {"type": "null", "description": "{minimum: 0}"}
    assert "system" not in faulty.requests[0]


def test_an_open_schema_is_asked_for_in_words(faulty: FaultServer, model: AnthropicMessages, logged: Logged) -> None:
    """And that is said once."""
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    faulty.will(message(text(0, "{}")))
    for _ in range(2):
        model.complete(asked(output_schema=schema, system="Count."), run_context())
    body = faulty.requests[0]
    assert "output_config" not in body
    assert body["system"][0]["text"].startswith("Count.\n\n")
    assert json.dumps(schema) in body["system"][0]["text"]
    assert [fields["parameter"] for fields in logged("model.parameter_left_out")] == ["output_schema"]


@pytest.mark.parametrize(
    ("complaint", "gone"),
    [
        ("output_config.format: not supported by this model", "output_config"),
        ("tool_choice: forcing is not allowed while thinking", "tool_choice"),
        ("system.0.cache_control: Extra inputs are not permitted", "cache_control"),
    ],
)
def test_what_the_server_refuses_is_left_out_from_then_on(
    complaint: str, gone: str, faulty: FaultServer, model: AnthropicMessages, logged: Logged
) -> None:
    """The same call goes on without it; later calls don't try."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    request = asked(system="S", output_schema=schema, tools=(WEATHER,), tool_choice="weather.now")
    faulty.will(failure(400, "invalid_request_error", complaint), message(text(0, "ok")))
    for _ in range(2):
        assert model.complete(request, run_context()).text == "ok"
    refused, second, third = faulty.requests
    assert gone in json.dumps(refused)
    assert gone not in json.dumps(second)
    assert second == third
    assert len(logged("model.parameter_left_out")) == 1


def test_a_complaint_that_stays_is_an_error(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Each parameter is given up once: no endless exchange."""
    faulty.will(failure(400, "invalid_request_error", "tool_choice and output_config and cache_control"))
    request = asked(output_schema={"type": "string"}, tools=(WEATHER,), tool_choice="none")
    with pytest.raises(ModelRejected, match="HTTP 400"):
        model.complete(request, run_context())
    assert len(faulty.requests) == 4


# --- what is made of what comes


def test_every_block_is_kept_verbatim(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Thinking with its signature, citations, blocks nobody knows."""
    citation = {"type": "char_location", "cited_text": "x"}
    faulty.will(
        message(
            block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "let me "},
                {"type": "thinking_delta", "thinking": "see"},
                {"type": "signature_delta", "signature": "c2lnbmVk"},
            ),
            block(
                1,
                {"type": "text", "text": ""},
                {"type": "text_delta", "text": "Well"},
                {"type": "citations_delta", "citation": citation},
                {"type": "text_delta", "text": "."},
            ),
            block(2, {"type": "redacted_thinking", "data": "b3BhcXVl"}),
            block(3, {"type": "brand_new", "value": {"n": 1}}, {"type": "new_delta", "more": [2]}),
        )
    )
    reply = model.complete(asked(), run_context())
    assert reply.text == "Well."
    assert reply.turn.raw == [
        {"type": "thinking", "thinking": "let me see", "signature": "c2lnbmVk"},
        {"type": "text", "text": "Well.", "citations": [citation]},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "brand_new", "value": {"n": 1}, "more": [2]},
    ]
    assert json.loads(json.dumps(reply.turn.raw)) == reply.turn.raw


def test_two_tools_at_once(faulty: FaultServer, model: AnthropicMessages) -> None:
    """In order, an empty input is an empty object, a made-up name stays as written."""
    faulty.will(
        message(
            text(0, "Looking."),
            call(1, "weather_now", '{"ci', 'ty": "Ros', 'tock"}', call_id="t1"),
            call(2, "nonsense", call_id="t2"),
            stop="tool_use",
        )
    )
    reply = model.complete(asked(tools=(WEATHER,)), run_context())
    assert reply.stop_reason == "tool_use"
    assert reply.tool_calls == (ToolCall("t1", "weather.now", {"city": "Rostock"}), ToolCall("t2", "nonsense", {}))


@pytest.mark.parametrize("ids", [("", ""), ("same", "same"), ("", "own")])
@pytest.mark.parametrize("indices", [(0, 0), (1, 2), (7, 3)])
def test_gateways_that_number_calls_badly(
    ids: tuple[str, str], indices: tuple[int, int], faulty: FaultServer, model: AnthropicMessages
) -> None:
    """A block that begins is a block of its own; calls without an id of their own get one."""
    first, second = (
        call(index, "weather_now", f'{{"city": "{city}"}}', call_id=given)
        for index, given, city in zip(indices, ids, ("Ulm", "Bonn"), strict=True)
    )
    faulty.will(message(first, second, stop="tool_use"))
    reply = model.complete(asked(tools=(WEATHER,)), run_context())
    assert [made.arguments for made in reply.tool_calls] == [{"city": "Ulm"}, {"city": "Bonn"}]
    told = [made.id for made in reply.tool_calls]
    assert len(set(told)) == 2
    assert all(told)
    assert told == [given["id"] for given in reply.turn.raw]
    assert told[1] == "own" or ids[1] != "own"


@pytest.mark.parametrize(
    ("given", "problem"),
    [('{"city": "Ros', "not JSON"), ("[1, 2]", "not a JSON object"), ("null", "not a JSON object")],
)
def test_malformed_tool_input_is_told(given: str, problem: str, faulty: FaultServer, model: AnthropicMessages) -> None:
    """The block goes back with an input the API takes."""
    faulty.will(message(call(0, "weather_now", given), stop="tool_use"))
    reply = model.complete(asked(tools=(WEATHER,)), run_context())
    (made,) = reply.tool_calls
    assert made.arguments is None
    assert problem in made.problem
    assert reply.turn.raw == [{"type": "tool_use", "id": "toolu_1", "name": "weather_now", "input": {}}]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("model_context_window_exceeded", "context_window_exceeded"),
        ("refusal", "refusal"),
        ("something_new", "end_turn"),
    ],
)
def test_stop_reasons(stop: str, reason: str, faulty: FaultServer, model: AnthropicMessages) -> None:
    """Each has a name of ours; one nobody knows is an end."""
    faulty.will(message(text(0, "so far"), stop=stop))
    reply = model.complete(asked(), run_context())
    assert (reply.stop_reason, reply.text) == (reason, "so far")


def test_a_refusal_says_why(faulty: FaultServer, model: AnthropicMessages) -> None:
    """Where there is no text, its details stand for it; what it cost is counted."""
    faulty.will(message(stop="refusal", stop_details={"type": "refusal", "category": "cyber", "explanation": "no."}))
    reply = model.complete(asked(), run_context())
    assert (reply.stop_reason, reply.text) == ("refusal", "cyber no.")
    assert reply.usage.total_tokens == 17


def test_a_pause_is_gone_on_from(faulty: FaultServer, model: AnthropicMessages) -> None:
    """What was said so far goes back, and the whole is one turn."""
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    faulty.will(
        message(block(0, search, {"type": "input_json_delta", "partial_json": '{"q": 1}'}), stop="pause_turn"),
        message(text(0, "Found.")),
    )
    reply = model.complete(asked(), run_context())
    done = search | {"input": {"q": 1}}
    assert faulty.requests[1]["messages"][-1] == {"role": "assistant", "content": [done]}
    assert reply.turn.raw == [done, {"type": "text", "text": "Found."}]
    assert (reply.text, reply.stop_reason) == ("Found.", "end_turn")
    assert reply.usage == Usage(20, 14)


def test_an_endless_pause_ends(faulty: FaultServer, model: AnthropicMessages) -> None:
    """After ten the caller decides."""
    faulty.will(message(text(0, "wait "), stop="pause_turn"))
    reply = model.complete(asked(), run_context())
    assert reply.stop_reason == "pause_turn"
    assert len(faulty.requests) == 10


def test_usage_with_the_caches_figures(faulty: FaultServer, model: AnthropicMessages) -> None:
    """The last figures are the totals."""
    faulty.will(message(text(0, "ok"), usage={"cache_read_input_tokens": 100, "cache_creation_input_tokens": 20}))
    assert model.complete(asked(), run_context()).usage == Usage(10, 7, 100, 20)


def test_an_empty_answer_is_an_answer(faulty: FaultServer, model: AnthropicMessages) -> None:
    """A model may have nothing to add; who asked decides what that means."""
    faulty.will(message())
    reply = model.complete(asked(), run_context())
    assert (reply.text, reply.turn.raw, reply.stop_reason) == ("", [], "end_turn")


@pytest.mark.parametrize("reason", [["end_turn"], {"a": 1}, 7])
def test_a_reason_that_is_no_text_is_none(reason: Any, faulty: FaultServer, model: AnthropicMessages) -> None:
    """Such an answer has not ended."""
    faulty.will(message(text(0, "x"), stop=reason))
    with pytest.raises(ModelUnavailable, match="broke off"):
        model.complete(asked(), run_context())


def test_blocks_that_lack_what_they_need_are_completed(faulty: FaultServer, model: AnthropicMessages) -> None:
    """A call without input has none that can be used, a text of nothing is empty; both can be handed back."""
    faulty.will(
        message(
            block(0, {"type": "text", "text": None}), block(1, {"type": "tool_use", "id": "a", "name": "x"}),
            stop="tool_use",
        ),
        message(text(0, "ok")),
    )  # fmt: skip
    reply = model.complete(asked(), run_context())
    (made,) = reply.tool_calls
    assert (reply.text, made.arguments) == ("", None)
    assert "not a JSON object" in made.problem
    again = asked(then=(reply.turn, ToolTurn((ToolResult("a", "no input"),))))
    assert model.complete(again, run_context()).text == "ok"
    assert faulty.requests[1]["messages"][1]["content"] == [{"type": "tool_use", "id": "a", "name": "x", "input": {}}]
