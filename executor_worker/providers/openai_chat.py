"""
Chat completions: OpenAI itself, and whatever speaks the same (Ollama, vLLM, TensorRT-LLM, Gemini's endpoint …).

Compatible servers differ in what they take: a parameter they refuse is left out from then on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import openai

from executor_worker.errors import ModelRejected, ModelUnavailable
from executor_worker.providers.base import ModelReply, ModelRequest, ModelTurn, Provider, ToolTurn, Turn, UserTurn
from executor_worker.providers.declared_tools import DeclaredTools
from executor_worker.providers.endpoint import endpoint
from executor_worker.providers.faults import BadRequest, Border, listed_models
from executor_worker.providers.left_out import LeftOut
from executor_worker.providers.model_settings import ModelSettings
from executor_worker.providers.openai_answer import Answer
from executor_worker.providers.property_names import PropertyNames
from executor_worker.providers.reply_json import read_arguments, read_reply
from executor_worker.providers.retries import Retries
from executor_worker.providers.schemas import in_words, strict
from executor_worker.providers.sdk_environment import hidden_from_sdk
from executor_worker.providers.tool_content import described, is_image
from executor_worker.providers.wire import Limit, http_client
from executor_worker.run_context import RunContext

LONGEST_TOOL_NAME = 64
LONGEST_DESCRIPTION = 1024  # OpenAI's own; others take more, or say that they don't
PROPERTY_NAMES, LONG_DESCRIPTIONS = "property_names", "long_descriptions"
# Parameter → how a 400 names it.
SIGNS = {
    "max_tokens": r"max_completion_tokens",
    "temperature": r"temperature",
    "stream_options": r"stream_options|include_usage",
    "response_format": r"response_format|json_schema|structured output|guided",
    "tool_choice": r"tool_choice",
    "images": r"image_url|image",
    "reasoning_content": r"reasoning_content",
    # Anthropic's rule, and others', behind an endpoint that is compatible otherwise.
    PROPERTY_NAMES: r"property (key|name)s?|properties\b.*\b(match|pattern|name)",
    LONG_DESCRIPTIONS: r"description\b.*\b(long|length|exceed|at most|characters)",
}


class OpenAIChat:
    """
    Construct after fork.

    Args:
        name: What the operator calls the provider: openai, ollama, gemini.
        query: Goes with each call.
        lists: The server may be asked which models it has.
    """

    def __init__(
        self,
        *,
        name: str,
        api_key: str,
        base_url: str,
        timeout_s: float,
        retries: Retries,
        query: Mapping[str, str] = MappingProxyType({}),
        lists: bool = True,
    ) -> None:
        self.name = name
        self._limit = Limit()
        self._timeout_s = timeout_s
        self._retries = retries
        self._is_openai = (urlsplit(base_url).hostname or "").endswith("openai.com")
        self._url, self._query, self._lists = f"{base_url}/chat/completions", dict(query), lists
        self._http = http_client(self._limit, base_url)
        with hidden_from_sdk():
            self._client = openai.OpenAI(
                api_key=api_key or "none",
                base_url=base_url,
                max_retries=0,
                timeout=None,
                default_query=self._query,
                http_client=self._http,
            )
        self._border = Border(name, openai, base_url, (api_key,) if api_key else ())
        self._left_out = LeftOut(name, SIGNS)

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        return self._retries.run(partial(self._attempt, request, run_context), run_context, request.model)

    def known_models(self, run_context: RunContext) -> list[str]:
        """List the models the server has: proves the address and the key without paying for a call."""
        self._limit.begin(self._timeout_s, run_context)
        with self._border.crossing("models", self._limit):
            if not self._lists:
                self._http.request("HEAD", self._url, params=self._query)  # any answer is one
                return []
            page: Any = self._client.get("/models", cast_to=object)
            return listed_models(page)

    def close(self) -> None:
        self._client.close()

    def _attempt(self, request: ModelRequest, run_context: RunContext, _number: int) -> ModelReply:
        while True:
            tools = self._declared(request)
            body = self._body(request, tools)
            try:
                return self._call(body, request, tools, run_context)
            except BadRequest as error:
                if not self._left_out.learn(request.model, _parameters(body), str(error)):
                    raise

    def _declared(self, request: ModelRequest) -> DeclaredTools:
        cut = self.name == "openai" or (request.model, LONG_DESCRIPTIONS) in self._left_out
        return DeclaredTools(
            request.tools,
            longest_name=LONGEST_TOOL_NAME,
            longest_description=LONGEST_DESCRIPTION if cut else 0,
            plain_names=(request.model, PROPERTY_NAMES) in self._left_out,
        )

    def _call(
        self, body: dict[str, Any], request: ModelRequest, tools: DeclaredTools, run_context: RunContext
    ) -> ModelReply:
        self._limit.begin(self._timeout_s, run_context)
        answer = Answer(request.model, len(request.turns), run_context, tools)
        with (
            self._border.crossing(request.model, self._limit),
            closing(
                self._client.post(
                    "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=openai.Stream[object]
                )
            ) as stream,
        ):
            self._read(stream, answer, run_context)
            return self._judged(answer, request.model).reply()

    def _read(self, stream: openai.Stream[object], answer: Answer, run_context: RunContext) -> None:
        kind = stream.response.headers.get("content-type", "no content type")
        if "json" in kind:
            # A server that does not stream answers with the whole completion.
            whole = read_reply(stream.response.read())
            if isinstance(whole, dict) and whole.get("error"):
                raise self._border.said(f"{self.name} {answer.model}", whole, 200, stream.response.headers)
            answer.feed(whole)
            answer.finish_reason = answer.finish_reason or "stop"  # small servers leave it out: the answer is whole
        else:
            for chunk in stream:
                run_context.check()
                answer.feed(chunk)
        answer.finish(kind)

    def _judged(self, answer: Answer, model: str) -> Answer:
        if answer.finish_reason is None:
            raise ModelUnavailable(f"{self.name} {model}: the answer broke off before its end")
        if answer.finish_reason == "error":
            raise ModelUnavailable(f"{self.name} {model}: the server failed in mid-answer")
        return answer

    def _body(self, request: ModelRequest, tools: DeclaredTools) -> dict[str, Any]:
        def takes(parameter: str) -> bool:
            return (request.model, parameter) not in self._left_out

        system = request.system
        body: dict[str, Any] = {"model": request.model, "stream": True}
        if takes("stream_options"):
            body["stream_options"] = {"include_usage": True}
        if request.temperature is not None and takes("temperature"):
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body["max_tokens" if takes("max_tokens") else "max_completion_tokens"] = request.max_tokens
        if request.output_schema is not None:
            if takes("response_format") and self._enforceable(request):
                body["response_format"] = _response_format(request.output_schema)
            else:
                system = in_words(system, request.output_schema)
        if request.tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in tools.form(schema="parameters")]
            if request.tool_choice != "auto" and takes("tool_choice"):
                body["tool_choice"] = _tool_choice(request.tool_choice, tools)
        body["messages"] = list(_messages(system, request.turns, takes("images"), takes("reasoning_content")))
        return body

    def _enforceable(self, request: ModelRequest) -> bool:
        # Local servers force every answer into the schema, so that no tool could be called any more.
        return self._is_openai or not request.tools or request.tool_choice == "none"


def _parameters(body: dict[str, Any]) -> set[str]:
    """Name the parameters in *body* that could be left out."""
    sent = set(body)
    for message in body["messages"]:
        if "reasoning_content" in message:
            sent.add("reasoning_content")
        if message["role"] == "user" and isinstance(message["content"], list):
            sent.add("images")
    for tool in body.get("tools", ()):
        about = tool["function"]
        if PropertyNames(about["parameters"]).odd:
            sent.add(PROPERTY_NAMES)
        if len(about["description"]) > LONGEST_DESCRIPTION:
            sent.add(LONG_DESCRIPTIONS)
    return sent


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict(schema)}}


def _tool_choice(choice: str, tools: DeclaredTools) -> object:
    return "none" if choice == "none" else {"type": "function", "function": {"name": tools.to_wire(choice)}}


def _messages(system: str | None, turns: Iterable[Turn], images: bool, reasoning: bool) -> Iterator[dict[str, Any]]:
    if system:
        yield {"role": "system", "content": system}
    for turn in turns:
        if isinstance(turn, ModelTurn):
            yield _sendable(turn.raw, reasoning)
        elif isinstance(turn, UserTurn):
            yield {"role": "user", "content": turn.text}
        else:
            yield from _results(turn, images)


def _sendable(raw: Any, reasoning: bool) -> dict[str, Any]:
    """The message as it came; arguments that are no JSON are wrapped, as servers' chat templates read them."""
    if not isinstance(raw, dict):
        raise ModelRejected("openai: this conversation was begun with another provider and can't go on here")
    message = {key: value for key, value in raw.items() if reasoning or key != "reasoning_content"}
    if "tool_calls" in message:
        message["tool_calls"] = [_readable(call) for call in message["tool_calls"]]
    elif message["content"] is None:
        message["content"] = ""
    return message


def _readable(call: dict[str, Any]) -> dict[str, Any]:
    text = call["function"]["arguments"]
    if text and not read_arguments(text)[1]:
        return call
    arguments = json.dumps({"malformed": text} if text else {}, separators=(",", ":"))  # it may hold what UTF-8 can't
    return call | {"function": call["function"] | {"arguments": arguments}}


def _results(turn: ToolTurn, images: bool) -> Iterator[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for result in turn.results:
        seen = [block for block in result.blocks if images and is_image(block)]
        told = [text for block in result.blocks if block not in seen and (text := described(block))]
        text = "\n".join(filter(None, [result.text, *told]))
        if result.is_error:
            text = f"Error: {text}"
        yield {"role": "tool", "tool_call_id": result.call_id, "content": text}
        if seen:
            shown.append({"type": "text", "text": f"Returned by tool call {result.call_id}:"})
            shown += [_image(block) for block in seen]
    # A tool's message holds text only; what it returned to be looked at follows as the user's.
    if shown:
        yield {"role": "user", "content": [*shown, {"type": "text", "text": turn.text}] if turn.text else shown}
    elif turn.text:
        yield {"role": "user", "content": turn.text}


def _image(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{block['mimeType']};base64,{block['data']}"}}


def make(name: str, settings: ModelSettings, retries: Retries) -> Provider:
    return OpenAIChat(
        name=name,
        api_key=settings.api_key,
        base_url=endpoint(name, settings.base_url),
        timeout_s=settings.timeout_s,
        retries=retries,
        query=dict(parse_qsl(urlsplit(settings.base_url).query, keep_blank_values=True)),
        lists=not settings.of_one_call,
    )
