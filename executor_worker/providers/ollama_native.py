"""Ollama's own `/api/chat`: lines of JSON, or one answer if the server does not stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import httpx2

from executor_worker.errors import ModelRejected, ModelUnavailable
from executor_worker.json_text import dumps
from executor_worker.outcome import Usage
from executor_worker.providers.base import (
    ModelReply,
    ModelRequest,
    ModelTurn,
    Provider,
    StopReason,
    ToolTurn,
    Turn,
    UserTurn,
)
from executor_worker.providers.declared_tools import DeclaredTools
from executor_worker.providers.endpoint import endpoint
from executor_worker.providers.faults import Border, Unusable
from executor_worker.providers.model_settings import ModelSettings
from executor_worker.providers.reply_json import mended, read_arguments, read_reply
from executor_worker.providers.retries import Retries
from executor_worker.providers.tool_content import described, is_image
from executor_worker.providers.wire import Limit, http_client
from executor_worker.run_context import RunContext

NAME = "ollama-native"
LONGEST_TOOL_NAME = 64
STOP_REASONS: dict[str, StopReason] = {"stop": "end_turn", "length": "max_tokens"}
# There is no SDK whose errors could arrive.
_NO_SDK = cast(Any, SimpleNamespace(APIStatusError=(), APIConnectionError=(), APIError=()))


class OllamaNative:
    """
    Construct after fork.

    Args:
        url: Where conversations are posted, as it is.
    """

    def __init__(self, *, api_key: str, url: str, timeout_s: float, retries: Retries) -> None:
        self.name = NAME
        self._url = url
        self._timeout_s = timeout_s
        self._retries = retries
        self._limit = Limit()
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = http_client(self._limit, url)
        self._border = Border(NAME, _NO_SDK, url, (api_key,) if api_key else ())

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        return self._retries.run(partial(self._attempt, request, run_context), run_context, request.model)

    def known_models(self, run_context: RunContext) -> list[str]:
        """List nothing, but make sure that a server answers there: the address is one call's, not a server's."""
        self._limit.begin(self._timeout_s, run_context)
        with self._border.crossing("models", self._limit):
            self._client.request("HEAD", self._url, headers=self._headers)
        return []

    def close(self) -> None:
        self._client.close()

    def _attempt(self, request: ModelRequest, run_context: RunContext, _number: int) -> ModelReply:
        tools = DeclaredTools(request.tools, longest_name=LONGEST_TOOL_NAME, plain_names=False)
        self._limit.begin(self._timeout_s, run_context)
        headers = {"content-type": "application/json", **self._headers}
        answer = _Answer(request.model, len(request.turns))
        with (
            self._border.crossing(request.model, self._limit),
            self._client.stream("POST", self._url, content=dumps(_body(request, tools)), headers=headers) as response,
        ):
            if response.status_code >= 400:
                raise self._refused(request.model, response)
            for part in _parts(response):
                run_context.check()
                if part.get("error"):
                    raise self._border.said(f"{NAME} {request.model}", part, 200, response.headers)
                answer.feed(part)
                answer.tell(part, run_context, tools)
            return answer.reply(tools)

    def _refused(self, model: str, response: httpx2.Response) -> Exception:
        body: Any = response.read()
        try:
            body = read_reply(body)
        except ValueError:
            body = body.decode("utf-8", "replace")
        return self._border.said(f"{NAME} {model}", body, response.status_code, response.headers)


def _parts(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """
    Read the lines of an answer; one that is spread over several lines is a whole answer.

    Raises:
        Unusable: It is no JSON.
    """
    rest: list[str] = []
    for line in response.iter_lines():
        text = line.strip()
        if not text:
            continue
        part = _object(text) if not rest else None
        if part is None:
            rest.append(line)
        else:
            yield part
    if rest:
        part = _object("\n".join(rest))
        if part is None:
            raise Unusable(f"no JSON in it ({response.headers.get('content-type', 'no content type')})")
        yield part


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = read_reply(text.encode("utf-8", "replace"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class _Answer:
    """One answer, put together from its parts."""

    def __init__(self, model: str, turn: int) -> None:
        self._model = model
        self._turn = turn
        self._texts: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._parts = 0
        self._done: bool | None = None
        self._reason = ""
        self._usage = Usage()

    def feed(self, part: dict[str, Any]) -> None:
        self._parts += 1
        message = part.get("message")
        message = message if isinstance(message, dict) else {}
        text = message.get("content") or part.get("response")
        self._texts += [text] if isinstance(text, str) else []
        self._calls += [call for call in message.get("tool_calls") or () if isinstance(call, dict)]
        self._model = str(part.get("model") or self._model)
        done = part.get("done")
        self._done = done if isinstance(done, bool) else self._done
        self._reason = str(part.get("done_reason") or self._reason)
        if done or "eval_count" in part:
            self._usage = Usage(_count(part, "prompt_eval_count"), _count(part, "eval_count"))

    def tell(self, part: dict[str, Any], run_context: RunContext, tools: DeclaredTools) -> None:
        """Show what a part that was taken has added."""
        message = part.get("message")
        message = message if isinstance(message, dict) else {}
        text = message.get("content") or part.get("response")
        if isinstance(text, str):
            run_context.text_delta(text)
        calls = [call for call in message.get("tool_calls") or () if isinstance(call, dict)]
        for position, call in enumerate(calls, len(self._calls) - len(calls)):
            about = call.get("function")
            about = about if isinstance(about, dict) else {}
            arguments = about.get("arguments")
            told = arguments if isinstance(arguments, str) else dumps(arguments).decode()
            run_context.call_delta(position, tools.own_name(str(about.get("name") or "")), told)

    def reply(self, tools: DeclaredTools) -> ModelReply:
        """
        Raises:
            Unusable: Nothing came.
            ModelUnavailable: It broke off.
        """
        if not self._parts:
            raise Unusable("no answer in it")
        if self._done is False:
            raise ModelUnavailable(f"{NAME} {self._model}: the answer broke off before its end")
        text = mended("".join(self._texts))
        message: dict[str, Any] = {"role": "assistant", "content": text}
        calls = []
        for position, call in enumerate(self._calls):
            about: Any = call.get("function")
            about = about if isinstance(about, dict) else {}
            name, given = str(about.get("name") or ""), about.get("arguments")
            arguments, problem = (given, "") if isinstance(given, dict) else read_arguments(str(given or ""))
            calls.append(tools.call(f"call_{self._turn}_{position}", name, mended(arguments), problem))
        if self._calls:
            message["tool_calls"] = mended(self._calls)
        return ModelReply(
            text=text,
            turn=ModelTurn(message),
            stop_reason="tool_use" if calls else STOP_REASONS.get(self._reason, "end_turn"),
            usage=self._usage,
            model=self._model,
            tool_calls=tuple(calls),
        )


def _count(part: dict[str, Any], name: str) -> int:
    value = part.get(name)
    return value if isinstance(value, int) else 0


def _body(request: ModelRequest, tools: DeclaredTools) -> dict[str, Any]:
    options = {"num_predict": request.max_tokens, "temperature": request.temperature}
    options = {name: value for name, value in options.items() if value is not None}
    body: dict[str, Any] = {
        "model": request.model,
        "messages": list(_messages(request.system, request.turns)),
        "stream": True,
    }
    if options:
        body["options"] = options
    if request.output_schema is not None and (not request.tools or request.tool_choice == "none"):
        body["format"] = request.output_schema
    if request.tools and request.tool_choice != "none":
        body["tools"] = [{"type": "function", "function": tool} for tool in tools.form(schema="parameters")]
    return body


def _messages(system: str | None, turns: Iterable[Turn]) -> Iterator[dict[str, Any]]:
    if system:
        yield {"role": "system", "content": system}
    for turn in turns:
        if isinstance(turn, ModelTurn):
            if not isinstance(turn.raw, dict):
                raise ModelRejected(f"{NAME}: this conversation was begun with another provider and can't go on here")
            yield turn.raw
        elif isinstance(turn, UserTurn):
            yield {"role": "user", "content": turn.text}
        else:
            yield from _results(turn)


def _results(turn: ToolTurn) -> Iterator[dict[str, Any]]:
    for result in turn.results:
        images = [block["data"] for block in result.blocks if is_image(block)]
        told = [text for block in result.blocks if not is_image(block) and (text := described(block))]
        text = "\n".join(filter(None, [f"Error: {result.text}" if result.is_error else result.text, *told]))
        yield {"role": "tool", "content": text, **({"images": images} if images else {})}
    if turn.text:
        yield {"role": "user", "content": turn.text}


def make(name: str, settings: ModelSettings, retries: Retries) -> Provider:
    return OllamaNative(
        api_key=settings.api_key,
        url=endpoint(name, settings.base_url),
        timeout_s=settings.timeout_s,
        retries=retries,
    )
