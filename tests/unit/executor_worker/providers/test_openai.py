"""The chat completions adapter: what is sent, what is made of what comes back, from many kinds of server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executor_worker.errors import ModelRefused, ModelRejected, ModelUnavailable
from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelRequest, ModelTurn, ToolCall, ToolResult, ToolSpec, ToolTurn, UserTurn
from executor_worker.providers.openai_chat import OpenAIChat
from executor_worker.providers.retries import Retries
from tests.unit.executor_worker.providers.dialects import KEY, asked, chunk, run_context, sse
from tests.unit.executor_worker.providers.fault_server import FaultServer, Reply, failure, page, stream

Logged = Callable[[str], list[dict[str, object]]]
WEATHER = ToolSpec("weather.now", "Tell the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


def adapter(url: str, *, name: str = "openai", key: str = KEY) -> OpenAIChat:
    return OpenAIChat(name=name, api_key=key, base_url=f"{url}/v1", timeout_s=5, retries=Retries(1, base_s=0.01))


@pytest.fixture
def model(faulty: FaultServer) -> Iterator[OpenAIChat]:
    """The adapter, talking to *faulty*."""
    made = adapter(faulty.url)
    yield made
    made.close()


def answer(*deltas: dict[str, Any], finish: Any = "stop", usage: dict[str, Any] | None = None) -> Reply:
    ends = [chunk({}, finish), *([chunk(usage=usage)] if usage else []), sse("[DONE]")]
    return stream(*[chunk(delta) for delta in deltas], *ends)


def piece(index: int | None, arguments: str = "", **fields: Any) -> dict[str, Any]:
    """A delta holding a piece of one tool call."""
    name = {"name": fields.pop("name")} if "name" in fields else {}
    call = {**fields, "function": {**name, "arguments": arguments}}
    return {"tool_calls": [call if index is None else {"index": index, **call}]}


OK = answer({"content": "ok"})


# --- against a server that is not ours


# --- what is sent


def test_the_plain_request(faulty: FaultServer, model: OpenAIChat) -> None:
    """As compatible servers take it; the key as a header."""
    faulty.will(OK)
    model.complete(ModelRequest("gpt-x", (UserTurn("hi"),), system="S", temperature=0.0, max_tokens=50), run_context())
    assert faulty.requests == [
        {
            "model": "gpt-x",
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0,
            "max_tokens": 50,
            "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}],
        }
    ]
    assert faulty.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", "none"),
        ("weather.now", {"type": "function", "function": {"name": "weather_now"}}),
    ],
)
def test_tools_and_their_choice(choice: str, sent: object, faulty: FaultServer, model: OpenAIChat) -> None:
    """Left to the model, forbidden, or one by name."""
    faulty.will(OK)
    model.complete(asked(tools=(WEATHER,), tool_choice=choice), run_context())
    (body,) = faulty.requests
    assert body.get("tool_choice") == sent
    function = {"name": "weather_now", "description": "Tell the weather", "parameters": WEATHER.input_schema}
    assert body["tools"] == [{"type": "function", "function": function}]


def test_a_conversation_is_sent_as_it_was(faulty: FaultServer, model: OpenAIChat) -> None:
    """The message verbatim, results as text, images after them; arguments that are no JSON as JSON."""
    good = {"id": "c1", "type": "function", "function": {"name": "weather_now", "arguments": '{ "city": "Ulm" }'}}
    bad = {"id": "c2", "type": "function", "function": {"name": "weather_now", "arguments": '{"ci'}}
    raw = {"role": "assistant", "content": None, "tool_calls": [good, bad], "reasoning_content": "hm"}
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    link = {"type": "resource_link", "name": "map", "uri": "file:///map"}
    results = (ToolResult("c1", "warm", blocks=(image, link)), ToolResult("c2", "no JSON", is_error=True))
    faulty.will(OK)
    model.complete(asked(tools=(WEATHER,), then=(ModelTurn(raw), ToolTurn(results, "Hurry."))), run_context())
    _, assistant, first, second, shown = faulty.requests[0]["messages"]
    wrapped = {**bad, "function": {"name": "weather_now", "arguments": '{"malformed":"{\\"ci"}'}}
    assert assistant == {**raw, "tool_calls": [good, wrapped]}
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "warm\nmap file:///map"}
    assert second == {"role": "tool", "tool_call_id": "c2", "content": "Error: no JSON"}
    assert [part["type"] for part in shown["content"]] == ["text", "image_url", "text"]
    assert shown["content"][1]["image_url"]["url"] == "data:image/png;base64,aGk="


def test_another_providers_conversation_is_rejected(faulty: FaultServer, model: OpenAIChat) -> None:
    """Its blocks mean nothing here."""
    faulty.will(OK)
    with pytest.raises(ModelRejected, match="another provider"):
        model.complete(asked(then=(ModelTurn([{"type": "text"}]), UserTurn("b"))), run_context())
    assert not faulty.requests


@pytest.mark.parametrize(
    ("schema", "is_strict"), [(SCHEMA, True), ({"type": "object", "properties": {"a": {}}}, False)]
)
def test_a_schema_is_enforced_by_the_server(
    schema: dict[str, Any], is_strict: bool, faulty: FaultServer, model: OpenAIChat
) -> None:
    """Strictly where the schema allows it."""
    faulty.will(OK)
    model.complete(asked(output_schema=schema), run_context())
    form = faulty.requests[0]["response_format"]
    assert form["json_schema"] == {"name": "answer", "schema": schema, "strict": is_strict}


def test_a_schema_beside_tools_is_asked_for_in_words(faulty: FaultServer, model: OpenAIChat) -> None:
    """Local servers would force the call itself into the schema; without the right to call, they may."""
    faulty.will(OK)
    model.complete(asked(output_schema=SCHEMA, tools=(WEATHER,)), run_context())
    model.complete(asked(output_schema=SCHEMA, tools=(WEATHER,), tool_choice="none"), run_context())
    first, second = faulty.requests
    assert "response_format" not in first
    assert json.dumps(SCHEMA) in first["messages"][0]["content"]
    assert "response_format" in second


IMAGE_RESULT = ToolTurn((ToolResult("c1", "x", blocks=({"type": "image", "data": "aGk=", "mimeType": "image/png"},)),))
REASONED = ModelTurn({"role": "assistant", "content": "x", "reasoning_content": "secret thoughts"})


@pytest.mark.parametrize(
    ("complaint", "gone", "request_"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            '"max_tokens"',
            asked(max_tokens=9),
        ),
        (
            "Unsupported value: 'temperature' does not support 0.3 with this model.",
            '"temperature"',
            asked(temperature=0.3),
        ),
        ("unknown field stream_options", '"stream_options"', asked()),
        ("response_format of type json_schema is not supported", '"response_format"', asked(output_schema=SCHEMA)),
        ("tool_choice is not supported", '"tool_choice"', asked(tools=(WEATHER,), tool_choice="none")),
        (
            "this model does not take images",
            '"image_url"',
            asked(then=(ModelTurn({"role": "assistant", "content": "x"}), IMAGE_RESULT)),
        ),
        ("reasoning_content must not be sent", '"reasoning_content"', asked(then=(REASONED, UserTurn("b")))),
    ],
)
def test_what_the_server_refuses_is_left_out_from_then_on(
    complaint: str, gone: str, request_: ModelRequest, faulty: FaultServer, model: OpenAIChat, logged: Logged
) -> None:
    """The same call goes on without it, later calls don't try, and it is said once."""
    faulty.will(failure(400, "invalid_request_error", complaint), OK)
    for _ in range(2):
        assert model.complete(request_, run_context()).text == "ok"
    refused, second, third = faulty.requests
    assert gone in json.dumps(refused)
    assert gone not in json.dumps(second)
    assert second == third
    assert len(logged("model.parameter_left_out")) == 1


def test_the_newer_name_of_the_limit_is_used_instead(faulty: FaultServer, model: OpenAIChat) -> None:
    """The limit itself is not lost."""
    faulty.will(failure(400, "invalid_request_error", "use max_completion_tokens"), OK)
    model.complete(asked(max_tokens=9), run_context())
    assert faulty.requests[1]["max_completion_tokens"] == 9


# --- what is made of what comes


def test_tool_calls_are_put_together_verbatim(faulty: FaultServer, model: OpenAIChat) -> None:
    """Two at once, in pieces that alternate; what a server adds to a call is kept for the way back."""
    faulty.will(
        answer(
            {"role": "assistant", "content": "Looking."},
            piece(0, '{ "ci', id="c1", type="function", name="weather_now", extra_content={"google": {"thought": "x"}}),
            piece(1, "", id="c2", type="function", name="nonsense"),
            piece(0, 'ty": "Ulm" }'),
            piece(1, "{}"),
            finish="tool_calls",
        )
    )
    reply = model.complete(asked(tools=(WEATHER,)), run_context())
    assert (reply.text, reply.stop_reason) == ("Looking.", "tool_use")
    assert reply.tool_calls == (ToolCall("c1", "weather.now", {"city": "Ulm"}), ToolCall("c2", "nonsense", {}))
    assert reply.turn.raw["tool_calls"][0] == {
        "id": "c1",
        "type": "function",
        "extra_content": {"google": {"thought": "x"}},
        "function": {"name": "weather_now", "arguments": '{ "city": "Ulm" }'},
    }
    assert json.loads(json.dumps(reply.turn.raw)) == reply.turn.raw


def test_servers_that_number_calls_badly(faulty: FaultServer, model: OpenAIChat) -> None:
    """All at index 0, or none: a new id is a new call; no id gets one; `stop` with calls is a call."""
    for index in (0, None):
        faulty.will(
            answer(piece(index, '{"city": "A"}', id="x", name="weather_now"), piece(index, "{}", id="y", name="b"))
        )
        reply = model.complete(asked(tools=(WEATHER,)), run_context())
        assert [(made.id, made.name) for made in reply.tool_calls] == [("x", "weather.now"), ("y", "b")]
        assert reply.stop_reason == "tool_use"
    faulty.will(answer(piece(0, "{}", name="weather_now"), piece(1, "{}", id="", name="b")))
    reply = model.complete(asked(tools=(WEATHER,)), run_context())
    ids = [made.id for made in reply.tool_calls]
    assert len(set(ids)) == 2
    assert ids == [made["id"] for made in reply.turn.raw["tool_calls"]]
    assert all(ids)


WHOLE = {"name": "echo", "arguments": '{"x": 1}'}
AGAIN = {"name": "echo", "arguments": '{"x": 2}'}
OTHER = {"name": "now", "arguments": "{}"}


def _pieces(*functions: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return [{"tool_calls": [{**fields, "function": function}]} for function in functions]


@pytest.mark.parametrize(
    ("deltas", "made"),
    [
        pytest.param(_pieces(WHOLE, AGAIN, index=0, id=""), [("echo", 1), ("echo", 2)], id="same-index-empty-ids"),
        pytest.param(_pieces(WHOLE, AGAIN, index=0, id="c"), [("echo", 1), ("echo", 2)], id="one-id-for-all"),
        pytest.param(_pieces(WHOLE, AGAIN), [("echo", 1), ("echo", 2)], id="neither-index-nor-id"),
        pytest.param(_pieces(WHOLE, AGAIN, index=None, id=None), [("echo", 1), ("echo", 2)], id="nulls"),
        pytest.param(
            [{"tool_calls": [{"index": 0, "function": WHOLE}, {"index": 0, "function": AGAIN}]}],
            [("echo", 1), ("echo", 2)],
            id="two-in-one-chunk",
        ),
        pytest.param(
            [*_pieces(WHOLE, index=0, id="c"), *_pieces(AGAIN, index=1, id="c")],
            [("echo", 1), ("echo", 2)],
            id="indices-with-one-id",
        ),
        pytest.param(
            _pieces({"name": "now", "arguments": ""}, WHOLE, index=0), [("now", None), ("echo", 1)], id="no-arguments"
        ),
        pytest.param(_pieces(OTHER, WHOLE, OTHER, index=0), [("now", None), ("echo", 1), ("now", None)], id="three"),
        pytest.param(
            _pieces({"name": "echo", "arguments": {"x": 1}}, {"name": "echo", "arguments": {"x": 2}}, index=0),
            [("echo", 1), ("echo", 2)],
            id="objects",
        ),
        pytest.param(
            _pieces({"name": "echo", "arguments": '{"x"'}, {"name": "echo", "arguments": ": 1}"}, index=0, id="c"),
            [("echo", 1)],
            id="the-name-with-each-piece",
        ),
        pytest.param(
            _pieces({"name": "ec", "arguments": ""}, {"name": "ho", "arguments": ""}, {"arguments": '{"x": 1}'}),
            [("echo", 1)],
            id="a-name-in-pieces",
        ),
        pytest.param(_pieces(WHOLE, {"name": "echo"}, index=0, id="c"), [("echo", 1)], id="the-name-at-the-end"),
        pytest.param(
            _pieces({"name": "echo", "arguments": "{}"}, {"arguments": ""}, {"name": None, "arguments": " "}, index=0),
            [("echo", None)],
            id="empty-pieces-at-the-end",
        ),
    ],
)
def test_parallel_calls_are_told_apart(
    deltas: list[dict[str, Any]], made: list[tuple[str, int | None]], faulty: FaultServer, model: OpenAIChat
) -> None:
    """However a server numbers them; each has an id that no other has, in the turn as well."""
    faulty.will(answer(*deltas, finish="tool_calls"))
    reply = model.complete(asked(), run_context())
    calls = reply.tool_calls
    assert [(call.name, (call.arguments or {}).get("x")) for call in calls] == made
    assert all(call.problem == "" for call in calls)
    ids = [call.id for call in calls]
    assert len(set(ids)) == len(made)
    assert all(ids)
    assert ids == [call["id"] for call in reply.turn.raw["tool_calls"]]


def test_parallel_calls_of_a_server_that_does_not_stream(faulty: FaultServer, model: OpenAIChat) -> None:
    """They have no index at all."""
    calls = [{"id": "", "type": "function", "function": function} for function in (WHOLE, AGAIN)]
    whole = {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "stop"}]}
    faulty.will(page(200, json.dumps(whole)))
    reply = model.complete(asked(), run_context())
    assert [call.arguments for call in reply.tool_calls] == [{"x": 1}, {"x": 2}]
    assert len({call.id for call in reply.tool_calls}) == 2


def test_arguments_as_an_object_are_taken(faulty: FaultServer, model: OpenAIChat) -> None:
    """Some servers don't make them a text."""
    call = {"index": 0, "id": "x", "function": {"name": "weather_now", "arguments": {"city": "Ulm"}}}
    faulty.will(answer({"tool_calls": [call]}))
    assert model.complete(asked(tools=(WEATHER,)), run_context()).tool_calls[0].arguments == {"city": "Ulm"}


@pytest.mark.parametrize(("given", "problem"), [('{"city": "Ros', "not JSON"), ("[1]", "not a JSON object")])
def test_malformed_arguments_are_told(given: str, problem: str, faulty: FaultServer, model: OpenAIChat) -> None:
    """They stay as they came in the turn."""
    faulty.will(answer(piece(0, given, id="x", name="weather_now"), finish="tool_calls"))
    reply = model.complete(asked(tools=(WEATHER,)), run_context())
    (made,) = reply.tool_calls
    assert made.arguments is None
    assert problem in made.problem
    assert reply.turn.raw["tool_calls"][0]["function"]["arguments"] == given


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
        ("model_length", "context_window_exceeded"),
    ],
)
def test_stop_reasons(finish: str, reason: str, faulty: FaultServer, model: OpenAIChat) -> None:
    """Each has a name of ours; one nobody knows is an end."""
    faulty.will(answer({"content": "so far"}, finish=finish))
    reply = model.complete(asked(), run_context())
    assert (reply.stop_reason, reply.text) == (reason, "so far")


def test_a_refusal_says_why(faulty: FaultServer, model: OpenAIChat) -> None:
    """It comes in a field of its own, with an ordinary stop."""
    faulty.will(answer({"refusal": "I can't "}, {"refusal": "do that."}))
    reply = model.complete(asked(), run_context())
    assert (reply.stop_reason, reply.text) == ("refusal", "I can't do that.")


def test_a_server_failing_in_mid_answer_is_unavailable(faulty: FaultServer, model: OpenAIChat) -> None:
    """Routers say so in the finish reason."""
    faulty.will(answer({"content": "half"}, finish="error"))
    with pytest.raises(ModelUnavailable, match="failed in mid-answer"):
        model.complete(asked(), run_context())


def test_reasoning_and_lists_of_parts(faulty: FaultServer, model: OpenAIChat) -> None:
    """Reasoning is kept for the way back and is no text; content may come as a list of parts."""
    faulty.will(
        answer(
            {"reasoning_content": "let me "},
            {"reasoning_content": "see"},
            {"content": [{"type": "text", "text": "4"}]},
            {"content": "2", "reasoning_details": [{"n": 1}]},
            {"reasoning_details": [{"n": 2}], "tool_calls": None, "audio": None},
        )
    )
    reply = model.complete(asked(), run_context())
    assert reply.text == "42"
    assert reply.turn.raw == {
        "role": "assistant",
        "content": "42",
        "reasoning_content": "let me see",
        "reasoning_details": [{"n": 1}, {"n": 2}],
    }


def test_usage_and_servers_that_send_none(faulty: FaultServer, model: OpenAIChat) -> None:
    """The last figures count; what came from the cache is told apart. Without any it is zero."""
    figures = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
    faulty.will(answer({"content": "x"}, usage=figures), OK)
    assert model.complete(asked(), run_context()).usage == Usage(1, 4, 8)
    assert model.complete(asked(), run_context()).usage == Usage()


def test_googles_errors_come_in_a_list(faulty: FaultServer, model: OpenAIChat) -> None:
    """The message is found all the same."""
    faulty.will(page(400, json.dumps([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID"}}])))
    with pytest.raises(ModelRefused, match="HTTP 400: API key not valid"):
        model.complete(asked(), run_context())


def test_an_error_in_a_successful_document(faulty: FaultServer, model: OpenAIChat) -> None:
    """Its code is the status it would have had."""
    faulty.will(page(200, json.dumps({"error": {"code": 502, "message": "upstream is down"}})))
    with pytest.raises(ModelUnavailable, match="HTTP 502: upstream is down"):
        model.complete(asked(), run_context())


@pytest.mark.parametrize("reason", [["stop"], {"a": 1}, 7])
def test_a_reason_that_is_no_text_is_none(reason: Any, faulty: FaultServer, model: OpenAIChat) -> None:
    """Such an answer has not ended."""
    faulty.will(answer({"content": "x"}, finish=reason))
    with pytest.raises(ModelUnavailable, match="broke off"):
        model.complete(asked(), run_context())


def test_malformed_arguments_of_any_characters_go_back_as_json(faulty: FaultServer, model: OpenAIChat) -> None:
    """Halves of surrogate pairs included, which no UTF-8 can hold."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather_now", "arguments": '{"\ud800'}}
    raw = {"role": "assistant", "content": None, "tool_calls": [call]}
    faulty.will(OK)
    model.complete(asked(then=(ModelTurn(raw), ToolTurn((ToolResult("c1", "no JSON"),)))), run_context())
    sent = faulty.requests[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == {"malformed": '{"\ud800'}
