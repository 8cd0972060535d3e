"""
Anthropic's Messages API.

Events are taken from the SDK's stream as plain JSON and put together here: so blocks of kinds that are not known
yet are kept, and handed back, as they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import anthropic

from executor_worker.errors import ModelRejected, ModelUnavailable
from executor_worker.providers.anthropic_answer import Answer, reply_of
from executor_worker.providers.base import ModelReply, ModelRequest, ModelTurn, Provider, ToolResult, ToolTurn, Turn
from executor_worker.providers.declared_tools import DeclaredTools
from executor_worker.providers.endpoint import endpoint
from executor_worker.providers.faults import BadRequest, Border, listed_models
from executor_worker.providers.left_out import LeftOut
from executor_worker.providers.model_settings import ModelSettings
from executor_worker.providers.reply_json import read_reply
from executor_worker.providers.retries import Retries
from executor_worker.providers.schemas import closed, in_words
from executor_worker.providers.sdk_environment import hidden_from_sdk
from executor_worker.providers.tool_content import described, is_image
from executor_worker.providers.wire import Limit, http_client
from executor_worker.run_context import RunContext

LONGEST_TOOL_NAME = 128
DEFAULT_MAX_TOKENS = 16_000
MAX_PAUSES = 10
CACHED = {"type": "ephemeral"}
# Parameter → how a 400 names it.
SIGNS = {
    "cache_control": r"cache_control",
    "output_schema": r"output_config|output_format|json_schema|structured output",
    "tool_choice": r"tool_choice",
}


class AnthropicMessages:
    """Construct after fork."""

    name = "anthropic"

    def __init__(self, *, api_key: str, base_url: str, timeout_s: float, retries: Retries) -> None:
        self._limit = Limit()
        self._timeout_s = timeout_s
        self._retries = retries
        with hidden_from_sdk():
            self._client = anthropic.Anthropic(
                api_key=api_key,
                base_url=base_url,
                max_retries=0,
                timeout=None,
                http_client=http_client(self._limit, base_url),
            )
        self._border = Border(self.name, anthropic, base_url, (api_key,) if api_key else ())
        self._left_out = LeftOut(self.name, SIGNS)

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        tools = DeclaredTools(request.tools, longest_name=LONGEST_TOOL_NAME, plain_names=True)
        answers: list[Answer] = []
        while len(answers) < MAX_PAUSES and (not answers or answers[-1].stop_reason == "pause_turn"):
            said = [block for answer in answers for block in answer.blocks]
            attempt = partial(self._attempt, request, tools, said, run_context)
            answers.append(self._retries.run(attempt, run_context, request.model))
        return reply_of(answers, tools)

    def known_models(self, run_context: RunContext) -> list[str]:
        """List the models this key may use: proves the address and the key without paying for a call."""
        self._limit.begin(self._timeout_s, run_context)
        with self._border.crossing("models", self._limit):
            page: Any = self._client.get("/v1/models?limit=1000", cast_to=object)
            return listed_models(page)

    def close(self) -> None:
        self._client.close()

    def _attempt(
        self,
        request: ModelRequest,
        tools: DeclaredTools,
        said: list[dict[str, Any]],
        run_context: RunContext,
        _number: int,
    ) -> Answer:
        while True:
            body = self._body(request, tools, said)
            try:
                return self._call(body, request.model, tools, run_context)
            except BadRequest as error:
                if not self._left_out.learn(request.model, _parameters(body), str(error)):
                    raise

    def _call(self, body: dict[str, Any], model: str, tools: DeclaredTools, run_context: RunContext) -> Answer:
        self._limit.begin(self._timeout_s, run_context)
        with (
            self._border.crossing(model, self._limit),
            closing(
                self._client.post(
                    "/v1/messages", body=body, cast_to=object, stream=True, stream_cls=anthropic.Stream[object]
                )
            ) as stream,
        ):
            answer = self._read(stream, model, tools, run_context)
        if answer.stop_reason is None:
            raise ModelUnavailable(f"{self.name} {model}: the answer broke off before its end")
        return answer

    def _read(
        self, stream: anthropic.Stream[object], model: str, tools: DeclaredTools, run_context: RunContext
    ) -> Answer:
        answer = Answer(model)
        if "json" in stream.response.headers.get("content-type", ""):
            # A gateway that does not stream answers with the whole message.
            answer.take_whole(read_reply(stream.response.read()))
            return answer
        for event in stream:
            run_context.check()
            if isinstance(event, dict) and event.get("type") == "error":
                raise self._border.said(f"{self.name} {model}", event, 200, stream.response.headers)
            answer.feed(event)
            answer.tell(event, run_context, tools)
        answer.finish(stream.response.headers.get("content-type", "no content type"))
        return answer

    def _body(self, request: ModelRequest, tools: DeclaredTools, said: list[dict[str, Any]]) -> dict[str, Any]:
        model = request.model
        if request.temperature is not None:
            self._left_out.say(model, "temperature", "the API no longer takes it")
        system = request.system
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
            "messages": list(_messages(request.turns, said)),
            "stream": True,
        }
        if request.output_schema is not None:
            schema = self._native_schema(model, request.output_schema)
            if schema is None:
                system = in_words(system, request.output_schema)
            else:
                body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if request.tools:
            body["tools"] = tools.form(schema="input_schema")
            if choice := self._tool_choice(request, tools):
                body["tool_choice"] = choice
        if system:
            body["system"] = [{"type": "text", "text": system}]
        if (model, "cache_control") not in self._left_out:
            # One tool that must be called is one call: no later call would read its conversation from the cache.
            _cache(body, conversation=bool(request.tools) and request.tool_choice in ("auto", "none"))
        return body

    def _native_schema(self, model: str, schema: dict[str, Any]) -> dict[str, Any] | None:
        if (model, "output_schema") in self._left_out:
            return None
        plain = closed(schema)
        if plain is None:
            self._left_out.say(model, "output_schema", "structured output takes closed schemas only")
            return None
        return anthropic.transform_schema(plain)

    def _tool_choice(self, request: ModelRequest, tools: DeclaredTools) -> dict[str, str] | None:
        if request.tool_choice == "auto" or (request.model, "tool_choice") in self._left_out:
            return None
        if request.tool_choice == "none":
            return {"type": "none"}
        return {"type": "tool", "name": tools.to_wire(request.tool_choice)}


def _parameters(body: dict[str, Any]) -> set[str]:
    """Name the parameters in *body* that could be left out."""
    sent = set(body)
    if "output_config" in body:
        sent.add("output_schema")
    if "system" in body or "tools" in body:
        sent.add("cache_control")
    return sent


def _cache(body: dict[str, Any], *, conversation: bool) -> None:
    """
    Mark what is the same in the next call: tools, system prompt and, if one will follow, the conversation so far.

    Four marks, as many as the API takes. The conversation gets two: the newest is for the next call to read; the one
    before is where this call reads what the last one wrote, however many blocks lie between (it looks back 20 only).
    """
    for part in ("tools", "system"):
        if part in body:
            body[part][-1]["cache_control"] = CACHED
    if not conversation:
        return
    for message in [message for message in body["messages"] if message["role"] == "user"][-2:]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        last = message["content"][-1]
        if last["type"] != "text" or last["text"]:
            last["cache_control"] = CACHED


def _messages(turns: Iterable[Turn], said: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for turn in turns:
        if isinstance(turn, ModelTurn):
            if content := _sendable(turn.raw):
                yield {"role": "assistant", "content": content}
        elif isinstance(turn, ToolTurn):
            yield {"role": "user", "content": list(_results(turn))}
        else:
            yield {"role": "user", "content": turn.text}
    if said:
        yield {"role": "assistant", "content": _sendable(said)}


def _sendable(raw: Any) -> list[dict[str, Any]]:
    """The blocks as they came, but for empty texts, which the API sends and does not take back."""
    if not isinstance(raw, list):
        raise ModelRejected("anthropic: this conversation was begun with another provider and can't go on here")
    return [block for block in raw if block.get("type") != "text" or block.get("text", "").strip()]


def _results(turn: ToolTurn) -> Iterator[dict[str, Any]]:
    for result in turn.results:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id}
        if content := list(_content(result)):
            block["content"] = content
        if result.is_error:
            block["is_error"] = True
        yield block
    if turn.text:
        yield {"type": "text", "text": turn.text}


def _content(result: ToolResult) -> Iterator[dict[str, Any]]:
    if result.text.strip():
        yield {"type": "text", "text": result.text}
    for block in result.blocks:
        # An error's content may only be text.
        if is_image(block) and not result.is_error:
            source = {"type": "base64", "media_type": block["mimeType"], "data": block["data"]}
            yield {"type": "image", "source": source}
        elif text := described(block):
            yield {"type": "text", "text": text}


def make(_name: str, settings: ModelSettings, retries: Retries) -> Provider:
    return AnthropicMessages(
        api_key=settings.api_key,
        base_url=endpoint("anthropic", settings.base_url),
        timeout_s=settings.timeout_s,
        retries=retries,
    )
